"""Fleets: who must serve the same thing; what they serve now, as a whole."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    DbDep,
    PageDep,
    ViewerDep,
    WriteDep,
    etag,
    json_response,
)
from control_plane.api.schemas import FleetChange, FleetCreate, FleetPath, ServerPath
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Fleet
from control_plane.services import configs, fleets, views

router = APIRouter(tags=["fleets"])
AcceptDep = Annotated[str, Header(alias="Accept")]


@router.post("/fleets", status_code=201)
async def create_fleet(body: FleetCreate, write: WriteDep) -> Response:
    """Create a fleet."""
    fleet = Fleet(created_at=write.now, **body.model_dump())
    answer = await write.rehearse(
        lambda commit: fleets.create_fleet(write.db, fleet, actor=write.actor.name, commit=commit),
        lambda made: Answer(
            201, fleet_json(made), etag(made.rv) | {"Location": f"/api/v1/fleets/{made.name}"}
        ),
    )
    return answer.response()


@router.get("/fleets")
async def list_fleets(db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List fleets."""
    found = await fleets.listed(db, page)
    return json_response(
        {"items": [fleet_json(one) for one in found.items], "next_page_token": found.next}
    )


@router.get("/fleets/{fleet}")
async def get_fleet(name: FleetPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a fleet."""
    fleet = await fleets.fleet(db, name)
    return json_response(fleet_json(fleet), headers=etag(fleet.rv))


@router.patch("/fleets/{fleet}")
async def change_fleet(name: FleetPath, body: FleetChange, write: WriteDep) -> Response:
    """Change a fleet's settings."""
    changes = body.model_dump(exclude_none=True)
    answer = await write.rehearse(
        lambda commit: fleets.change_fleet(
            write.db,
            name,
            changes,
            expected_rv=write.if_match,
            event=Event(EventKind.FLEET_CHANGED, write.now, write.actor.name),
            commit=commit,
        ),
        lambda saved: Answer(200, fleet_json(saved), etag(saved.rv)),
    )
    write.running.parts.reconciler.nudge(name)
    return answer.response()


@router.delete("/fleets/{fleet}", status_code=204)
async def delete_fleet(name: FleetPath, write: AdminWriteDep) -> Response:
    """Delete a fleet without servers and deployments."""
    answer = await write.rehearse(
        lambda commit: fleets.delete_fleet(
            write.db,
            name,
            expected_rv=write.if_match,
            event=Event(EventKind.FLEET_DELETED, write.now, write.actor.name),
            commit=commit,
        ),
        lambda _: Answer(204),
    )
    return answer.response()


@router.get("/fleets/{fleet}/status")
async def get_status(name: FleetPath, db: DbDep, _: ViewerDep) -> Response:
    """Show servers × models × versions, with TensorFlow Serving's own states and error texts."""
    return json_response(await views.fleet_status(db, name))


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
        "revision": fleet.head,
        "created_at": fleet.created_at.isoformat(),
    }
