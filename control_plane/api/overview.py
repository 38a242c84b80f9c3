"""The overview: is everything fine, and if not, what to do."""

from fastapi import APIRouter, Response

from control_plane.api.deps import DbDep, PartsDep, ViewerDep, json_response
from control_plane.services.overview import overview

router = APIRouter(tags=["overview"])


@router.get("/overview")
async def get_overview(db: DbDep, parts: PartsDep, _: ViewerDep) -> Response:
    """Show how everything stands, what needs somebody, and what changed in the last 24 hours."""
    return json_response(await overview(db, parts.clock()))
