"""Fleets and servers: who must serve the same thing, where they are, and who may push to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from control_plane.domain.address import parse_address
from control_plane.domain.catalog import check_base_path, check_name
from control_plane.domain.errors import FieldInvalid, NotOurs, StillInUse
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Drain, Fleet, Server, ServerFlags
from control_plane.services.commit import Commit
from control_plane.store import fleets as store
from control_plane.store import journal, revisions, rollouts, sources
from control_plane.store.database import Database, Page, Paged, Session


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A server to register; an empty name is made from the address."""

    address: str
    name: str = ""
    rest_address: str = ""
    take_over: bool = False
    memory_bytes: int | None = None
    flags: ServerFlags = field(default_factory=ServerFlags)


async def create_fleet(db: Database, fleet: Fleet, *, actor: str, commit: Commit[Fleet]) -> Fleet:
    """Create a fleet.

    Raises:
        AlreadyExists: the name is taken.
        FieldInvalid: a path of `path_map` is not absolute, or boot configs cannot be kept.
    """
    checked = _bootable(replace(fleet, path_map=_path_map(fleet.path_map)))
    async with db.begin() as s:
        await store.add_fleet(s, checked)
        event = Event(EventKind.FLEET_CREATED, fleet.created_at, actor, fleet=fleet.name)
        await journal.append(s, event)
        await commit(s, checked)
    return checked


async def change_fleet(
    db: Database,
    name: str,
    changes: Mapping[str, Any],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[Fleet],
) -> Fleet:
    """Change a fleet's fields; `event` says who and when.

    Raises:
        FieldInvalid: a path is not absolute, or boot configs cannot be kept.
        StillInUse: `path_map` changes while something is deployed.
        PreconditionFailed: it is not at `expected_rv` any more.
    """
    async with db.begin() as s:
        before = await store.lock_fleet(s, name)
        after = replace(before, **changes)
        if after.path_map != before.path_map:
            after = replace(after, path_map=_path_map(after.path_map))
            await _refuse_while_deployed(s, name)
        saved = await store.save_fleet(s, _bootable(after), expected_rv)
        await journal.append(s, replace(event, fleet=name, data=_told(changes)))
        await commit(s, saved)
    return saved


async def delete_fleet(
    db: Database, name: str, *, expected_rv: int | None, event: Event, commit: Commit[None]
) -> None:
    """Delete a fleet that has no servers, looks for none and serves nothing.

    Raises:
        StillInUse: it has servers, sources, deployments or a live rollout.
    """
    async with db.begin() as s:
        fleet = await store.lock_fleet(s, name)
        held = [f"server {one.name}" for one in await store.servers(s, name)]
        held += [f"source {one.name}" for one, _ in await sources.sources(s, name)]
        held += [f"deployment {model}" for model in await revisions.head(s, name)]
        held += [f"rollout {one.id}" for one in await rollouts.live(s, name)]
        if held:
            raise StillInUse(f"fleet {name} still has {', '.join(held[:5])}", held=held[:100])
        await store.save_fleet(s, fleet, expected_rv)
        await store.delete_fleet(s, name)
        await journal.append(s, replace(event, fleet=name))
        await commit(s, None)


async def add_server(
    db: Database,
    fleet: str,
    request: ServerRequest,
    *,
    actor: str,
    now: datetime,
    commit: Commit[Server],
) -> Server:
    """Register a server; nothing is pushed to it before it is taken over.

    Raises:
        FieldInvalid: the address is not `host:port`.
        AlreadyExists: the name, or the address in whatever fleet, is taken.
    """
    address = parse_address("address", request.address)
    name = check_name("name", request.name or address.server_name)
    async with db.begin() as s:
        home = await store.lock_fleet(s, fleet)
        taken_over = request.take_over or home.take_over == "always"
        server = Server(
            fleet=fleet,
            name=name,
            address=str(address),
            created_at=now,
            rest_address=_rest_address(request.rest_address),
            taken_over=taken_over,
            taken_over_at=now if taken_over else None,
            memory_bytes=request.memory_bytes,
            flags=request.flags,
        )
        await store.add_server(s, server)
        data = {"address": server.address, "taken_over": server.taken_over}
        await journal.append(
            s, Event(EventKind.SERVER_ADDED, now, actor, fleet=fleet, server=name, data=data)
        )
        await commit(s, server)
    return server


async def change_server(
    db: Database,
    key: tuple[str, str],
    changes: Mapping[str, Any],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[Server],
) -> Server:
    """Change a server's fields; `key` is its fleet and name, `event` says who and when.

    Of `flags`, those that are left out stay, and None forgets one.
    Taking over what was taken over says that this control plane is the one to write there.

    Raises:
        FieldInvalid: an address is none.
        StillInUse: a source says where the server is.
    """
    changes = dict(changes)
    if "address" in changes:
        changes["address"] = str(parse_address("address", changes["address"]))
    if "rest_address" in changes:
        changes["rest_address"] = _rest_address(changes["rest_address"])
    async with db.begin() as s:
        before = await store.server(s, *key)
        if before.source and changes.get("address", before.address) != before.address:
            text = f"the source {before.source} says where {before.name} is"
            raise StillInUse(text, hint="change it there", source=before.source)
        flags = replace(before.flags, **changes.get("flags", {}))
        after = replace(before, **{**changes, "flags": flags})
        taken = bool(changes.get("taken_over"))
        if taken:
            after = replace(after, taken_over_at=event.at)
        saved = await store.save_server(s, after, expected_rv)
        kind = EventKind.SERVER_TAKEN_OVER if taken else EventKind.SERVER_CHANGED
        data = _told({name: value for name, value in changes.items() if name != "flags"})
        await journal.append(s, replace(event, kind=kind, fleet=key[0], server=key[1], data=data))
        await commit(s, saved)
    return saved


async def drain_server(
    db: Database, key: tuple[str, str], *, event: Event, commit: Commit[tuple[Server, bool]]
) -> tuple[Server, bool]:
    """Keep callers away from a server, or let them go to it again; say whether that changed it.

    `event` says which, who, when and why. Nothing on the server itself changes.
    """
    drains = event.kind is EventKind.SERVER_DRAINED
    async with db.begin() as s:
        before = await store.server(s, *key)
        if changed := drains is (before.drain is None):
            drain = Drain(event.at, event.actor, event.reason) if drains else None
            saved = await store.save_server(s, replace(before, drain=drain), None)
            await journal.append(s, replace(event, fleet=key[0], server=key[1]))
        else:
            saved = before
        await commit(s, (saved, changed))
    return saved, changed


async def enforce(
    db: Database, key: tuple[str, str], *, event: Event, commit: Commit[Server]
) -> Server:
    """Have our config put back on a server, whatever was seen there so far.

    Raises:
        NotOurs: nobody took it over.
    """
    async with db.begin() as s:
        home, before = await store.fleet(s, key[0]), await store.server(s, *key)
        if not (before.taken_over or home.take_over == "always"):
            raise NotOurs(hint=f"tfsctl server take-over {key[1]}", fleet=key[0], server=key[1])
        saved = await store.save_server(s, replace(before, taken_over_at=event.at), None)
        await journal.append(s, replace(event, fleet=key[0], server=key[1]))
        await commit(s, saved)
    return saved


async def remove_server(
    db: Database,
    key: tuple[str, str],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[None],
) -> None:
    """Forget a server; the process itself is left as it is.

    Raises:
        StillInUse: a source lists it, and would find it again.
    """
    async with db.begin() as s:
        await store.lock_fleet(s, key[0])
        server = await store.server(s, *key)
        await _refuse_listed(s, server)
        await store.save_server(s, server, expected_rv)
        await store.delete_server(s, *key)
        data = {"address": server.address}
        await journal.append(s, replace(event, fleet=key[0], server=key[1], data=data))
        await commit(s, None)


async def fleet(db: Database, name: str) -> Fleet:
    """Return a fleet."""
    async with db.read() as s:
        return await store.fleet(s, name)


async def listed(db: Database, page: Page) -> Paged[Fleet]:
    """Return a page of fleets."""
    async with db.read() as s:
        return await store.fleets(s, page)


def _rest_address(text: str) -> str:
    return str(parse_address("rest_address", text)) if text else ""


def _path_map(path_map: Mapping[str, str]) -> dict[str, str]:
    return {
        check_base_path(theirs, "path_map"): check_base_path(ours, f"path_map.{theirs}")
        for theirs, ours in path_map.items()
    }


def _bootable(fleet: Fleet) -> Fleet:
    """Let pass a fleet whose servers' files we can write, or that does not ask for it."""
    if not fleet.boot_config_dir:
        return fleet
    field = "boot_config_dir"
    if fleet.storage == "opaque":
        raise FieldInvalid(field, "we cannot see the servers' files", hint="storage: visible")
    folder = check_base_path(fleet.boot_config_dir, field)
    if not folder.startswith("/"):
        raise FieldInvalid(field, "only a folder of a file system can be written to")
    return replace(fleet, boot_config_dir=folder)


async def _refuse_listed(s: Session, server: Server) -> None:
    if not server.source:
        return
    source, report = await sources.source(s, server.fleet, server.source)
    if server.address in report.addresses:
        text = f"the source {source.name} lists {server.name} and would find it again"
        hint = f"take it out of {source.place}, delete the source, or drain the server"
        raise StillInUse(text, hint=hint, source=source.name)


async def _refuse_while_deployed(s: Session, fleet: str) -> None:
    deployed = sorted(await revisions.head(s, fleet))
    if deployed:
        text = f"path_map changes only while nothing is deployed; {deployed[0]} is"
        raise StillInUse(text, deployed=deployed[:100])


def _told(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"changed": dict(changes)}
