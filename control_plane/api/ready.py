"""Readiness for load balancers: 200 where callers can be sent, 503 where not, from memory."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api.deps import RunningDep, ViewerDep, json_response
from control_plane.api.parts import Running
from control_plane.api.schemas import FleetPath, ModelPath, ServerPath
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.errors import NotReady
from control_plane.services import readiness
from control_plane.services.readiness import Json
from control_plane.services.sight import Sight

router = APIRouter(tags=["system"])


@router.get("/fleets/{fleet}/deployments/{model}/ready")
async def deployment_ready(
    running: RunningDep,
    _: ViewerDep,
    fleet: FleetPath,
    model: ModelPath,
    label: Annotated[QueryText, Query()] = "",
) -> Response:
    """Say whether some server answers to a label, or to all labels of the deployment."""
    return _answer(readiness.of_deployment(await _sight(running, fleet), model, label))


@router.get("/fleets/{fleet}/servers/{server}/ready")
async def server_ready(
    running: RunningDep,
    _: ViewerDep,
    fleet: FleetPath,
    name: ServerPath,
    model: Annotated[QueryText, Query()] = "",
    label: Annotated[QueryText, Query()] = "",
) -> Response:
    """Say whether a server answers to all that it should serve, or to one model or label."""
    return _answer(readiness.of_server(await _sight(running, fleet), name, model, label))


async def _sight(running: Running, fleet: str) -> Sight:
    await running.resolved.settle()
    return running.resolved.sight(fleet)


def _answer(found: Json) -> Response:
    if not found["ready"]:
        raise NotReady(found["sentence"], **found)
    return json_response(found)
