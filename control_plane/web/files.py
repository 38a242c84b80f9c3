"""Static files of the pages; everybody may have them."""

from typing import Final

from starlette.responses import Response

from control_plane.web import shelf
from control_plane.web.visit import Place, Visit


async def _file(visit: Visit) -> Response:
    return shelf.answer(visit.request, visit.request.path_params["name"])


PLACES: Final = (Place("/static/{name:path}", "static", _file, open=True),)
