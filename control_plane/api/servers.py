"""Servers: the TensorFlow Serving processes of a fleet."""

from fastapi import APIRouter, Response

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    DbDep,
    PageDep,
    ViewerDep,
    Write,
    WriteDep,
    etag,
    json_response,
)
from control_plane.api.schemas import FleetPath, Remark, ServerChange, ServerCreate, ServerPath
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server, ServerFlags
from control_plane.services import fleets, views

router = APIRouter(prefix="/fleets/{fleet}/servers", tags=["servers"])


@router.post("", status_code=201)
async def add_server(fleet: FleetPath, body: ServerCreate, write: WriteDep) -> Response:
    """Register a server; nothing is pushed to it before it is taken over."""
    request = fleets.ServerRequest(
        address=body.address,
        name=body.name or "",
        rest_address=body.rest_address,
        take_over=body.take_over,
        memory_bytes=body.memory_bytes,
        flags=ServerFlags(**body.flags.model_dump()),
    )
    answer = await write.rehearse(
        lambda commit: fleets.add_server(
            write.db, fleet, request, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda made: _shown(201, made),
    )
    write.running.parts.reconciler.nudge(fleet)
    return answer.response()


@router.get("")
async def list_servers(fleet: FleetPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List a fleet's servers and how they are."""
    items, after = await views.servers(db, fleet, page)
    return json_response({"items": items, "next_page_token": after})


@router.get("/{server}")
async def get_server(fleet: FleetPath, name: ServerPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a server, what it serves and what is going on there."""
    document, rv = await views.server(db, fleet, name)
    return json_response(document, headers=etag(rv))


@router.patch("/{server}")
async def change_server(
    fleet: FleetPath, name: ServerPath, body: ServerChange, write: WriteDep
) -> Response:
    """Change what is known of a server, or take it over: `{"take_over": true}`."""
    changes = body.model_dump(exclude_unset=True, exclude={"flags", "take_over"})
    changes = {
        key: value for key, value in changes.items() if value is not None or key == "memory_bytes"
    }
    if body.flags is not None:
        changes["flags"] = body.flags.model_dump(exclude_unset=True)
    if body.take_over:
        changes["taken_over"] = True
    answer = await write.rehearse(
        lambda commit: fleets.change_server(
            write.db,
            (fleet, name),
            changes,
            expected_rv=write.if_match,
            event=Event(EventKind.SERVER_CHANGED, write.now, write.actor.name),
            commit=commit,
        ),
        lambda saved: _shown(200, saved),
    )
    write.running.parts.reconciler.nudge(fleet)
    return answer.response()


@router.post("/{server}:drain")
async def drain_server(
    fleet: FleetPath, name: ServerPath, write: WriteDep, body: Remark | None = None
) -> Response:
    """Keep callers away from a server: not ready, skipped by `:predict`, reconciled as ever."""
    return await _drained(EventKind.SERVER_DRAINED, (fleet, name), write, body)


@router.post("/{server}:undrain")
async def undrain_server(
    fleet: FleetPath, name: ServerPath, write: WriteDep, body: Remark | None = None
) -> Response:
    """Let callers go to a server again."""
    return await _drained(EventKind.SERVER_UNDRAINED, (fleet, name), write, body)


@router.delete("/{server}", status_code=204)
async def remove_server(fleet: FleetPath, name: ServerPath, write: AdminWriteDep) -> Response:
    """Forget a server; the process itself is left as it is."""
    answer = await write.rehearse(
        lambda commit: fleets.remove_server(
            write.db,
            (fleet, name),
            expected_rv=write.if_match,
            event=Event(EventKind.SERVER_REMOVED, write.now, write.actor.name),
            commit=commit,
        ),
        lambda _: Answer(204),
    )
    write.running.parts.reconciler.nudge(fleet)
    return answer.response()


async def _drained(
    kind: EventKind, key: tuple[str, str], write: Write, body: Remark | None
) -> Response:
    event = Event(kind, write.now, write.actor.name, reason=body.reason if body else "")

    def shown(saved: tuple[Server, bool]) -> Answer:
        server, changed = saved
        return Answer(200, {**views.server_json(server), "changed": changed}, etag(server.rv))

    answer = await write.rehearse(
        lambda commit: fleets.drain_server(write.db, key, event=event, commit=commit), shown
    )
    write.running.parts.reconciler.nudge(key[0])
    return answer.response()


def _shown(status: int, server: Server) -> Answer:
    place = f"/api/v1/fleets/{server.fleet}/servers/{server.name}"
    headers = etag(server.rv) | ({"Location": place} if status == 201 else {})
    return Answer(status, views.server_json(server), headers)
