"""The models list: every model, where it is served, and how it stands there."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from control_plane.services.served import FILTERS, served
from control_plane.web.search import LONGEST
from control_plane.web.visit import Place, Visit


async def _show(visit: Visit) -> Response:
    return visit.page("models.html", **await _facts(visit))


async def _board(visit: Visit) -> Response:
    return visit.page("models/board.html", **await _facts(visit))


async def _facts(visit: Visit) -> dict[str, Any]:
    asked = visit.request.query_params
    q, state = asked.get("q", "")[:LONGEST], asked.get("state", "")
    told = await served(visit.site.db, q, state if state in FILTERS else "", visit.site.clock())
    return {"told": told, "query": _query}


def _query(**fields: str) -> str:
    """Return what follows a path, without the fields that are empty."""
    given = {name: text for name, text in fields.items() if text}
    return f"?{urlencode(given)}" if given else ""


PLACES: Final = (
    Place("/models", "models", _show),
    Place("/ui/models", "models_board", _board),
)
