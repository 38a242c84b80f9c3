"""What the search box finds."""

from typing import Final

from starlette.responses import Response

from control_plane.services.search import search
from control_plane.web.visit import Place, Visit

LONGEST: Final = 200


async def _find(visit: Visit) -> Response:
    q = visit.request.query_params.get("q", "")[:LONGEST]
    return visit.page("search.html", q=q, found=await search(visit.site.db, q))


PLACES: Final = (Place("/search", "search", _find),)
