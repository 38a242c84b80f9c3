"""Search: things by a part of their name."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api.deps import DbDep, ViewerDep, json_response
from control_plane.api.schemas import Query as QueryText
from control_plane.services.search import search

router = APIRouter(tags=["overview"])


@router.get("/search")
async def find(db: DbDep, _: ViewerDep, q: Annotated[QueryText, Query()] = "") -> Response:
    """Find models, fleets, servers and rollouts by a part of their name."""
    return json_response(await search(db, q))
