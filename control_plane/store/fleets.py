"""Fleets, servers and what was observed of them, in the database."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import String, and_, bindparam, case, delete, literal_column, or_, select, update

from control_plane.domain.errors import AlreadyExists, NotFound, StillInUse
from control_plane.domain.fleet import Drain, Fleet, Server, ServerFlags
from control_plane.store import deeds, leases, rows
from control_plane.store.database import Page, Paged, Session, key_of
from control_plane.store.tables import FleetRow, ObservationRow, ServerRow

_LOCKED = rows.by_key(FleetRow, ("name",)).with_for_update()
_OF_THE_FLEET = ObservationRow.fleet == bindparam("fleet")
_WRITTEN_BY = literal_column("xmin::text", String)
_STAMPS = select(ObservationRow.server, _WRITTEN_BY).where(_OF_THE_FLEET)
_DOCUMENTS = select(ObservationRow.server, ObservationRow.document).where(
    _OF_THE_FLEET, ObservationRow.server.in_(bindparam("servers", expanding=True))
)


async def add_fleet(s: Session, fleet: Fleet) -> None:
    """Store a new fleet.

    Raises:
        AlreadyExists: a fleet of this name exists.
    """
    if not await rows.insert_new(s, FleetRow, **rows.values_of(fleet)):
        raise AlreadyExists(f"The fleet {fleet.name} exists already.", fleet=fleet.name)


async def fleet(s: Session, name: str) -> Fleet:
    """Return a fleet.

    Raises:
        NotFound: no such fleet.
    """
    return Fleet(**await rows.one_of(s, FleetRow, name=name))


async def lock_fleet(s: Session, name: str) -> Fleet:
    """Return a fleet and hold back other changes of its desired state until the end.

    Raises:
        NotFound: no such fleet.
    """
    found = (await s.execute(_LOCKED, {"name": name})).mappings().first()
    if found is None:
        raise NotFound(rows.missing("fleet", {"name": name}), name=name)
    deeds.saw(s, "fleets", {"name": name}, dict(found))
    return Fleet(**found)


async def fleets(s: Session, page: Page = Page()) -> Paged[Fleet]:  # noqa: B008
    """Return fleets by name."""
    statement = rows.columns_of(FleetRow).order_by(FleetRow.name).limit(page.size + 1)
    if key := key_of(page.after, str):
        statement = statement.where(FleetRow.name > key[0])
    found = [Fleet(**one) for one in await rows.all_of(s, statement)]
    return page.of(found, lambda one: (one.name,))


async def all_fleets(s: Session) -> tuple[Fleet, ...]:
    """Return every fleet by name."""
    found = await rows.all_of(s, rows.columns_of(FleetRow).order_by(FleetRow.name))
    return tuple(Fleet(**one) for one in found)


async def save_fleet(s: Session, fleet: Fleet, expected_rv: int | None) -> Fleet:
    """Change a fleet's settings; its head moves with revisions only.

    Raises:
        NotFound: no such fleet.
        PreconditionFailed: it changed since it was read.
    """
    changes = rows.values_of(fleet, "name", "created_at", "head", "rv")
    return replace(
        fleet, rv=await rows.save(s, FleetRow, {"name": fleet.name}, changes, expected_rv)
    )


async def delete_fleet(s: Session, name: str) -> None:
    """Delete a fleet with its revisions and rollouts; the journal keeps what happened.

    Raises:
        NotFound: no such fleet.
        StillInUse: it has servers.
    """
    await lock_fleet(s, name)
    if await servers(s, name):
        raise StillInUse(f"The fleet {name} has servers; remove them first.", fleet=name)
    await s.execute(delete(FleetRow).where(FleetRow.name == name))
    deeds.changed(s, "fleets", {"name": name}, None)


async def add_server(s: Session, server: Server) -> None:
    """Store a new server.

    Raises:
        AlreadyExists: the fleet has a server of this name, or some server has this address.
        NotFound: no such fleet.
    """
    await fleet(s, server.fleet)
    if await rows.insert_new(s, ServerRow, **_server_values(server)):
        return
    same = ServerRow.address == server.address
    taken = (await s.execute(select(ServerRow.fleet, ServerRow.name).where(same))).first()
    if taken is None:
        raise AlreadyExists(f"The fleet {server.fleet} has a server {server.name} already.")
    text = f"{server.address} is the server {taken.name} of the fleet {taken.fleet} already."
    raise AlreadyExists(text, fleet=taken.fleet, server=taken.name)


async def server(s: Session, fleet: str, name: str) -> Server:
    """Return a server.

    Raises:
        NotFound: no such server.
    """
    return _server(await rows.one_of(s, ServerRow, fleet=fleet, name=name))


async def servers(s: Session, fleet: str) -> tuple[Server, ...]:
    """Return a fleet's servers by name."""
    return tuple(_server(one) for one in await rows.all_by(s, ServerRow, "name", fleet=fleet))


async def save_server(s: Session, server: Server, expected_rv: int | None) -> Server:
    """Change what is known of a server.

    Raises:
        NotFound: no such server.
        PreconditionFailed: it changed since it was read.
    """
    changes = _server_values(server)
    key = {"fleet": changes.pop("fleet"), "name": changes.pop("name")}
    del changes["created_at"], changes["rv"]
    return replace(server, rv=await rows.save(s, ServerRow, key, changes, expected_rv))


async def delete_server(s: Session, fleet: str, name: str) -> None:
    """Delete a server and what was observed of it.

    Raises:
        NotFound: no such server.
    """
    await server(s, fleet, name)
    where = (ServerRow.fleet == fleet, ServerRow.name == name)
    await s.execute(delete(ServerRow).where(*where))
    deeds.changed(s, "servers", {"fleet": fleet, "name": name}, None)


async def observed(s: Session, fleet: str, server: str) -> Mapping[str, Any] | None:
    """Return what was last observed of a server; None before the first look."""
    found = await rows.maybe_one(s, ObservationRow, fleet=fleet, server=server)
    return None if found is None else found["document"]


async def observations(s: Session, fleet: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what was last observed of each server of a fleet."""
    found = await rows.all_by(s, ObservationRow, "server", fleet=fleet)
    return {one["server"]: one["document"] for one in found}


async def newer_observations(
    s: Session, fleet: str, known: Mapping[str, str]
) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, Any]]]:
    """Return a stamp for each server's observation, and what was observed where it is not `known`.

    PostgreSQL stamps a row with the transaction that wrote it. SQLite does not: there nothing is
    ever known.
    """
    if s.dialect.name != "postgresql":
        return {}, await observations(s, fleet)
    found = await s.execute(_STAMPS, {"fleet": fleet})
    stamps = {str(server): str(stamp) for server, stamp in found}
    changed = [server for server, stamp in stamps.items() if known.get(server) != stamp]
    if not changed:
        return stamps, {}
    documents = await s.execute(_DOCUMENTS, {"fleet": fleet, "servers": changed})
    return stamps, {str(server): document for server, document in documents}


async def save_observed(
    s: Session, fleet: str, server: str, document: Mapping[str, Any], *, epoch: int
) -> None:
    """Write what was observed of one server; as `save_observations`."""
    await save_observations(s, fleet, {server: document}, epoch=epoch)


async def save_observations(
    s: Session, fleet: str, documents: Mapping[str, Mapping[str, Any]], *, epoch: int
) -> None:
    """Write what was observed of servers, by name, if this epoch is the fleet's.

    Raises:
        LeaseLost: another process reconciles this fleet, or nobody does.
        NotFound: a server was removed.
    """
    await leases.check(s, fleet, epoch)
    wanted = (ServerRow.fleet == fleet, ServerRow.name.in_(sorted(documents)))
    known = set((await s.execute(select(ServerRow.name).where(*wanted))).scalars())
    for gone in sorted(set(documents) - known):
        raise NotFound(rows.missing("server", {"fleet": fleet, "name": gone}))
    if documents:
        each = documents.items()
        values = [{"fleet": fleet, "server": name, "document": dict(one)} for name, one in each]
        await rows.upsert_all(s, ObservationRow, values)


async def last_seen(s: Session, fleet: str) -> Mapping[str, datetime]:
    """Return when each server of a fleet last answered; those never seen are left out."""
    wanted = (ServerRow.fleet == fleet, ServerRow.last_seen_at.is_not(None))
    found = await s.execute(select(ServerRow.name, ServerRow.last_seen_at).where(*wanted))
    return {name: at for name, at in found if at is not None}


async def touch_last_seen(s: Session, seen: Mapping[tuple[str, str], datetime]) -> None:
    """Write when servers, by fleet and name, last answered: one statement."""
    if not seen:
        return
    each = {_named(*key): at for key, at in seen.items()}
    changed = update(ServerRow).where(or_(*each)).values(last_seen_at=case(*each.items()))
    await s.execute(changed)


def _named(fleet: str, name: str) -> Any:
    return and_(ServerRow.fleet == fleet, ServerRow.name == name)


def _server_values(server: Server) -> dict[str, Any]:
    drain = server.drain
    told = drain and {"at": drain.at.isoformat(), "actor": drain.actor, "reason": drain.reason}
    return rows.values_of(server, "flags", "drain") | {"flags": asdict(server.flags), "drain": told}


def _server(row: Mapping[str, Any]) -> Server:
    coded = ("flags", "drain", "last_seen_at")
    values = {name: value for name, value in row.items() if name not in coded}
    drain = row["drain"]
    told = drain and Drain(**{**drain, "at": datetime.fromisoformat(drain["at"])})
    return Server(**values, flags=ServerFlags(**row["flags"]), drain=told)
