"""Sources of servers: create, change and delete them, and look at what they brought.

A source is looked up once before it is stored, so that a misspelt name is noticed by the person who
wrote it. What it finds is registered by the fleet's leader: see `discovery`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from control_plane.domain.discovery import Answer
from control_plane.domain.errors import AlreadyExists, FieldInvalid
from control_plane.domain.events import Event, EventKind
from control_plane.domain.source import Report, Source, check_source
from control_plane.services.commit import Commit
from control_plane.store import fleets, journal
from control_plane.store import sources as store
from control_plane.store.database import Database, Session

Find = Callable[[Source], Awaitable[Answer]]
Json = dict[str, Any]
_CHECKED = frozenset({"host", "path", "port", "family"})  # what a look depends on


async def create(
    db: Database, source: Source, find: Find | None, *, event: Event, commit: Commit[Source]
) -> Source:
    """Create a source; `event` says who and when, `find` looks it up first unless it is None.

    Raises:
        AlreadyExists: the name is taken, or another source looks at the same place.
        FieldInvalid: a field does not fit, or nothing is found there.
        NotFound: no such fleet.
    """
    checked = check_source(source)
    await _look_up(checked, find)
    async with db.begin() as s:
        await fleets.lock_fleet(s, source.fleet)
        await store.add(s, checked)
        await _refuse_twin(s, checked)
        await journal.append(s, _told(EventKind.SOURCE_CREATED, checked, event))
        await commit(s, checked)
    return checked


async def change(
    db: Database,
    key: tuple[str, str],
    changes: Mapping[str, Any],
    find: Find | None,
    *,
    event: tuple[Event, int | None],
    commit: Commit[tuple[Source, Report]],
) -> tuple[Source, Report]:
    """Change a source: its fleet, name and kind stay, and so do the servers that it found.

    `key` is its fleet and name, `event` comes with the rv that it must still be at. Of `flags`,
    those that are left out stay, and None forgets one.

    Raises:
        AlreadyExists: another source looks at the same place.
        FieldInvalid: a field does not fit, or nothing is found where it would look.
        NotFound: no such source.
        PreconditionFailed: it changed since it was read.
    """
    what, expected_rv = event
    async with db.read() as s:
        before, _ = await store.source(s, *key)
    after = _changed(before, changes)
    if any(getattr(before, name) != getattr(after, name) for name in _CHECKED):
        await _look_up(after, find)
    async with db.begin() as s:
        await fleets.lock_fleet(s, key[0])
        current, report = await store.source(s, *key)
        saved = await store.save(s, _changed(current, changes), expected_rv)
        await _refuse_twin(s, saved)
        await journal.append(s, _told(EventKind.SOURCE_CHANGED, saved, what))
        await commit(s, (saved, report))
    return saved, report


async def delete(
    db: Database,
    key: tuple[str, str],
    *,
    with_servers: bool,
    event: tuple[Event, int | None],
    commit: Commit[None],
) -> None:
    """Delete a source; its servers stay as if somebody had registered them, or go along.

    Raises:
        NotFound: no such source.
        PreconditionFailed: it changed since it was read.
    """
    what, expected_rv = event
    async with db.begin() as s:
        await fleets.lock_fleet(s, key[0])
        source, _ = await store.source(s, *key)
        await store.save(s, source, expected_rv)
        events = [_told(EventKind.SOURCE_DELETED, source, what)]
        for one in await fleets.servers(s, key[0]) if with_servers else ():
            if one.source == source.name:
                await fleets.delete_server(s, one.fleet, one.name)
                data = {"address": one.address, "source": source.name}
                gone = replace(what, kind=EventKind.SERVER_REMOVED, fleet=key[0], data=data)
                events.append(replace(gone, server=one.name))
        await store.let_go(s, *key)
        await store.remove(s, *key)
        await journal.append(s, *events)
        await commit(s, None)


async def show(db: Database, fleet: str, name: str) -> tuple[Source, Report]:
    """Return a source and what was found there last."""
    async with db.read() as s:
        return await store.source(s, fleet, name)


async def listed(db: Database, fleet: str) -> tuple[tuple[Source, Report], ...]:
    """Return the sources of a fleet by name.

    Raises:
        NotFound: no such fleet.
    """
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        return await store.sources(s, fleet)


def source_json(source: Source, report: Report) -> Json:
    """A source, as the API shows it."""
    flags = {name: value for name, value in asdict(source.flags).items() if value is not None}
    count = len(report.addresses)
    return {
        "fleet": source.fleet,
        "name": source.name,
        "kind": str(source.kind),
        "host": source.host,
        "path": source.path,
        "port": source.port,
        "family": source.family,
        "grace_s": source.grace_s,
        "take_over": source.take_over,
        "memory_bytes": source.memory_bytes,
        "rest_port": source.rest_port,
        "flags": flags,
        "status": "failing" if report.fault else "ok",
        "sentence": report.fault or f"lists {count} server{'' if count == 1 else 's'}",
        "addresses": list(report.addresses),
        "missing": {one: at.isoformat() for one, at in report.missing.items()},
        "refused": dict(report.refused),
        "created_at": source.created_at.isoformat(),
        "created_by": source.created_by,
    }


def _changed(source: Source, changes: Mapping[str, Any]) -> Source:
    flags = replace(source.flags, **changes.get("flags", {}))
    return check_source(replace(source, **{**changes, "flags": flags}))


async def _look_up(source: Source, find: Find | None) -> None:
    if find is None:
        return
    answer = await find(source)
    if answer.fault or not answer.addresses:
        why = answer.fault or "it lists no server"
        hint = "`force` if it will; nothing is removed for what cannot be looked up"
        raise FieldInvalid(source.field, f"{source.place}: {why}", hint=hint)


async def _refuse_twin(s: Session, source: Source) -> None:
    place = (source.kind, source.place, source.port)
    for one, _ in await store.sources(s):
        if (one.kind, one.place, one.port) == place and _key(one) != _key(source):
            text = f"The source {one.name} of the fleet {one.fleet} looks there already."
            raise AlreadyExists(text, fleet=one.fleet, source=one.name)


def _key(source: Source) -> tuple[str, str]:
    return source.fleet, source.name


def _told(kind: EventKind, source: Source, event: Event) -> Event:
    data = {"source": source.name, "kind": str(source.kind), "place": source.place}
    return replace(event, kind=kind, fleet=source.fleet, data=data)
