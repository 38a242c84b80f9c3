"""Models as they are served: all of them, and one in one fleet."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api.deps import DbDep, PartsDep, RunningDep, ViewerDep, json_response
from control_plane.api.schemas import FleetPath, ModelPath
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.errors import FieldInvalid
from control_plane.services.model_view import model_view
from control_plane.services.served import FILTERS, served

router = APIRouter(tags=["models"])


@router.get("/served")
async def list_served(
    db: DbDep,
    parts: PartsDep,
    _: ViewerDep,
    q: Annotated[QueryText, Query()] = "",
    state: Annotated[QueryText, Query()] = "",
) -> Response:
    """Show every model with where it is served and how it stands there."""
    if state not in ("", *FILTERS):
        raise FieldInvalid("state", f"{state[:80]!r} is no state", hint=", ".join(FILTERS))
    return json_response(await served(db, q, state, parts.clock()))


@router.get("/fleets/{fleet}/models/{model}")
async def get_served(
    fleet: FleetPath, model: ModelPath, running: RunningDep, _: ViewerDep
) -> Response:
    """Show one model in one fleet: labels, servers, versions, availability, changes, config."""
    parts, last = running.parts, running.resolved.known(fleet)
    return json_response(await model_view(parts.db, fleet, model, parts.clock(), last))
