"""Servers: the TensorFlow Serving processes of a fleet."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    PageDep,
    PartsDep,
    ViewerDep,
    Write,
    WriteDep,
    etag,
    gone,
    json_response,
    list_response,
    shown,
)
from control_plane.api.parts import AppParts
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
    return await write.respond(
        lambda commit: fleets.add_server(
            write.db, fleet, request, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda made: _shown(201, made),
        nudge=fleet,
    )


@router.get("")
async def list_servers(fleet: FleetPath, parts: PartsDep, page: PageDep, _: ViewerDep) -> Response:
    """List a fleet's servers and how they are."""
    items, after = await views.servers(parts.db, fleet, page)
    return list_response((timed(parts, one) for one in items), after)


@router.get("/{server}")
async def get_server(fleet: FleetPath, name: ServerPath, parts: PartsDep, _: ViewerDep) -> Response:
    """Show a server, what it serves and what is going on there.

    `latency_ms` is the round trip of a question to it, smoothed over the last looks; null while it
    does not answer, and from a replica that does not look at this fleet.
    """
    document, rv = await views.server(parts.db, fleet, name)
    return json_response(timed(parts, document), headers=etag(rv))


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
    return await write.respond(
        write.matched(fleets.change_server, EventKind.SERVER_CHANGED, (fleet, name), changes),
        lambda saved: _shown(200, saved),
        nudge=fleet,
    )


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


@router.post("/{server}:enforce")
async def enforce(
    fleet: FleetPath, name: ServerPath, write: WriteDep, body: Remark | None = None
) -> Response:
    """Have our config put back on a server that drifted, or where that was paused."""
    reason = body.reason if body else ""
    event = Event(EventKind.SERVER_ENFORCED, write.now, write.actor.name, reason=reason)
    return await write.respond(
        lambda commit: fleets.enforce(write.db, (fleet, name), event=event, commit=commit),
        lambda saved: _shown(200, saved),
        nudge=fleet,
    )


@router.delete("/{server}", status_code=204)
async def remove_server(fleet: FleetPath, name: ServerPath, write: AdminWriteDep) -> Response:
    """Forget a server; the process itself is left as it is."""
    return await write.respond(
        write.matched(fleets.remove_server, EventKind.SERVER_REMOVED, (fleet, name)),
        gone,
        nudge=fleet,
    )


async def _drained(
    kind: EventKind, key: tuple[str, str], write: Write, body: Remark | None
) -> Response:
    event = write.event(kind, body.reason if body else "")

    def drained(saved: tuple[Server, bool]) -> Answer:
        server, changed = saved
        return shown({**views.server_json(server), "changed": changed}, server.rv)

    return await write.respond(
        lambda commit: fleets.drain_server(write.db, key, event=event, commit=commit),
        drained,
        nudge=key[0],
    )


def timed(parts: AppParts, server: Mapping[str, Any]) -> dict[str, Any]:
    """Say of a server how long its round trip takes, as far as this process knows."""
    return {**server, "latency_ms": parts.reconciler.latency_ms(server["fleet"], server["name"])}


def _shown(status: int, server: Server) -> Answer:
    place = f"fleets/{server.fleet}/servers/{server.name}" if status == 201 else ""
    return shown(views.server_json(server), server.rv, place)
