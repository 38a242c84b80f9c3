"""Sources: where the servers of a fleet are found."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field, StringConstraints

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    DbDep,
    ViewerDep,
    Write,
    gone,
    list_response,
    shown,
)
from control_plane.api.schemas import Body, Finite, Flags, FleetPath, MemoryBytes, Name
from control_plane.domain.catalog import NAME_PATTERN
from control_plane.domain.events import EventKind
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.source import GRACE_S, Family, Report, Source, SourceKind
from control_plane.services import sources
from control_plane.services.sources import Find, source_json

router = APIRouter(prefix="/fleets/{fleet}/sources", tags=["sources"])
SourcePath = Annotated[str, Path(alias="source", pattern=NAME_PATTERN)]
Host = Annotated[str, StringConstraints(max_length=256)]
FilePath = Annotated[str, StringConstraints(max_length=2_048)]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
Grace = Annotated[Finite, Field(ge=1, le=30 * 24 * 3_600)]


class SourceCreate(Body):
    """A new source: `dns` takes host and port, `srv` host, `file` path."""

    name: Name
    kind: SourceKind
    host: Host = ""
    path: FilePath = ""
    port: Port | None = None
    family: Family = "any"
    grace_s: Grace = GRACE_S
    take_over: bool = False
    memory_bytes: MemoryBytes | None = None
    rest_port: Port | None = None
    flags: Flags = Flags()
    force: bool = False


class SourceChange(Body):
    """Changes of a source; what is left out stays."""

    host: Host | None = None
    path: FilePath | None = None
    port: Port | None = None
    family: Family | None = None
    grace_s: Grace | None = None
    take_over: bool | None = None
    memory_bytes: MemoryBytes | None = None
    rest_port: Port | None = None
    flags: Flags | None = None
    force: bool = False

    def changes(self) -> dict[str, Any]:
        """What was given; null forgets what may be unknown."""
        given = self.model_dump(exclude_unset=True, exclude={"force"})
        may_be_null = ("memory_bytes", "rest_port")
        return {name: one for name, one in given.items() if one is not None or name in may_be_null}


@router.post("", status_code=201)
async def create_source(fleet: FleetPath, body: SourceCreate, write: AdminWriteDep) -> Response:
    """Create a source; what it lists is registered, and what it lists no more is forgotten."""
    given = body.model_dump(exclude={"flags", "force"})
    flags = ServerFlags(**body.flags.model_dump())
    source = Source(
        fleet=fleet, created_at=write.now, created_by=write.actor.name, flags=flags, **given
    )
    return await write.respond(
        lambda commit: sources.create(
            write.db,
            source,
            _find(write, force=body.force),
            event=write.event(EventKind.SOURCE_CREATED),
            commit=commit,
        ),
        lambda made: _shown(201, (made, Report())),
        nudge=fleet,
    )


@router.get("")
async def list_sources(fleet: FleetPath, db: DbDep, _: ViewerDep) -> Response:
    """List the sources of a fleet, and what each brought."""
    items = [source_json(*one) for one in await sources.listed(db, fleet)]
    return list_response(items)


@router.get("/{source}")
async def get_source(fleet: FleetPath, name: SourcePath, db: DbDep, _: ViewerDep) -> Response:
    """Show a source: what it lists, who is missing since when, who cannot be a server of it."""
    return _shown(200, await sources.show(db, fleet, name)).response()


@router.patch("/{source}")
async def change_source(
    fleet: FleetPath, name: SourcePath, body: SourceChange, write: AdminWriteDep
) -> Response:
    """Change a source; servers that it found before keep what it gave them."""
    event = write.event(EventKind.SOURCE_CHANGED)
    return await write.respond(
        lambda commit: sources.change(
            write.db,
            (fleet, name),
            body.changes(),
            _find(write, force=body.force),
            event=(event, write.if_match),
            commit=commit,
        ),
        lambda saved: _shown(200, saved),
        nudge=fleet,
    )


@router.delete("/{source}", status_code=204)
async def delete_source(
    fleet: FleetPath, name: SourcePath, write: AdminWriteDep, with_servers: bool = False
) -> Response:
    """Delete a source; its servers stay as if registered by hand, or go along."""
    event = write.event(EventKind.SOURCE_DELETED)
    return await write.respond(
        lambda commit: sources.delete(
            write.db,
            (fleet, name),
            with_servers=with_servers,
            event=(event, write.if_match),
            commit=commit,
        ),
        gone,
        nudge=fleet,
    )


def _find(write: Write, *, force: bool) -> Find | None:
    return None if force else write.running.parts.lookup.find


def _shown(status: int, found: tuple[Source, Report]) -> Answer:
    source = found[0]
    place = f"fleets/{source.fleet}/sources/{source.name}" if status == 201 else ""
    return shown(source_json(*found), source.rv, place)
