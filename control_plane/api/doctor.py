"""The doctor: how servers were started, and what to change."""

from fastapi import APIRouter, Response

from control_plane.api.deps import PartsDep, ViewerDep, json_response
from control_plane.api.schemas import FleetPath, ServerPath
from control_plane.services import doctor

router = APIRouter(prefix="/fleets/{fleet}", tags=["servers"])


@router.get("/servers/{server}/doctor")
async def examine_server(
    fleet: FleetPath, server: ServerPath, parts: PartsDep, _: ViewerDep
) -> Response:
    """Say how a server was started as far as that shows, and what to change."""
    return json_response(await doctor.of_server(parts.db, fleet, server, parts.clock))


@router.get("/doctor")
async def examine_fleet(fleet: FleetPath, parts: PartsDep, _: ViewerDep) -> Response:
    """Say how each server of a fleet was started as far as that shows, and what to change."""
    return json_response(await doctor.of_fleet(parts.db, fleet, parts.clock))
