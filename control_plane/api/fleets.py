"""Fleets: who must serve the same thing; what they serve now, as a whole."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse

from control_plane.api.deps import (
    AdminWriteDep,
    DbDep,
    PageDep,
    PartsDep,
    ViewerDep,
    WriteDep,
    gone,
    json_response,
    list_response,
    shown,
)
from control_plane.api.schemas import FleetChange, FleetCreate, FleetPath, ServerPath
from control_plane.api.servers import timed
from control_plane.domain.events import EventKind
from control_plane.domain.fleet import Fleet
from control_plane.services import configs, fleets, views

router = APIRouter(tags=["fleets"])
AcceptDep = Annotated[str, Header(alias="Accept")]


@router.post("/fleets", status_code=201)
async def create_fleet(body: FleetCreate, write: WriteDep) -> Response:
    """Create a fleet."""
    fleet = Fleet(created_at=write.now, **body.model_dump())
    return await write.respond(
        lambda commit: fleets.create_fleet(write.db, fleet, actor=write.actor.name, commit=commit),
        lambda made: shown(fleet_json(made), made.rv, f"fleets/{made.name}"),
    )


@router.get("/fleets")
async def list_fleets(db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List fleets."""
    found = await fleets.listed(db, page)
    return list_response(map(fleet_json, found.items), found.next)


@router.get("/fleets/{fleet}")
async def get_fleet(name: FleetPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a fleet."""
    fleet = await fleets.fleet(db, name)
    return shown(fleet_json(fleet), fleet.rv).response()


@router.patch("/fleets/{fleet}")
async def change_fleet(name: FleetPath, body: FleetChange, write: WriteDep) -> Response:
    """Change a fleet's settings."""
    changes = body.model_dump(exclude_none=True)
    return await write.respond(
        write.matched(fleets.change_fleet, EventKind.FLEET_CHANGED, name, changes),
        lambda saved: shown(fleet_json(saved), saved.rv),
        nudge=name,
    )


@router.delete("/fleets/{fleet}", status_code=204)
async def delete_fleet(name: FleetPath, write: AdminWriteDep) -> Response:
    """Delete a fleet without servers and deployments."""
    return await write.respond(
        write.matched(fleets.delete_fleet, EventKind.FLEET_DELETED, name),
        gone,
    )


@router.get("/fleets/{fleet}/status")
async def get_status(name: FleetPath, parts: PartsDep, _: ViewerDep) -> Response:
    """Show servers × models × versions, with TensorFlow Serving's own states and error texts."""
    status = await views.fleet_status(parts.db, name)
    servers = [timed(parts, one) for one in status["servers"]]
    return json_response({**status, "servers": servers})


@router.get("/fleets/{fleet}/config")
async def get_fleet_config(
    name: FleetPath, db: DbDep, _: ViewerDep, accept: AcceptDep = "*/*"
) -> Response:
    """Show the config that the fleet's head asks for; text proto for `Accept: text/plain`."""
    return _config(await configs.of_fleet(db, name), accept)


@router.get("/fleets/{fleet}/servers/{server}/config")
async def get_server_config(
    name: FleetPath, server: ServerPath, db: DbDep, _: ViewerDep, accept: AcceptDep = "*/*"
) -> Response:
    """Show the config that one server should have; text proto for `Accept: text/plain`."""
    return _config(await configs.of_server(db, name, server), accept)


def _config(config: configs.ConfigView, accept: str) -> Response:
    if "text/plain" in accept:
        return PlainTextResponse(config.text, headers={"ETag": f'"{config.digest}"'})
    return json_response(config.document, headers={"ETag": f'"{config.digest}"'})


def fleet_json(fleet: Fleet) -> dict[str, Any]:
    """A fleet, as the API shows it."""
    return {
        "name": fleet.name,
        "description": fleet.description,
        "path_map": dict(fleet.path_map),
        "storage": fleet.storage,
        "take_over": fleet.take_over,
        "max_unavailable": fleet.max_unavailable,
        "boot_config_dir": fleet.boot_config_dir,
        "on_drift": fleet.on_drift,
        "revision": fleet.head,
        "created_at": fleet.created_at.isoformat(),
    }
