"""Sources of servers in the database, and what was found there last."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.source import Report, Source, SourceKind
from control_plane.store import deeds, rows
from control_plane.store.database import Session
from control_plane.store.source_tables import SourceRow
from control_plane.store.tables import ServerRow

_COLUMNS = ("fleet", "name", "created_at", "created_by", "rv")


async def add(s: Session, source: Source) -> None:
    """Store a new source.

    Raises:
        AlreadyExists: the fleet has a source of this name.
    """
    columns = {name: getattr(source, name) for name in _COLUMNS}
    made = await rows.insert_new(
        s, SourceRow, **columns, document=_document(source), report=_report_json(Report())
    )
    if not made:
        raise AlreadyExists(f"The fleet {source.fleet} has a source {source.name} already.")


async def source(s: Session, fleet: str, name: str) -> tuple[Source, Report]:
    """Return a source and what was found there last.

    Raises:
        NotFound: no such source.
    """
    return _source(await rows.one_of(s, SourceRow, fleet=fleet, name=name))


async def sources(s: Session, fleet: str | None = None) -> tuple[tuple[Source, Report], ...]:
    """Return the sources of a fleet, or of all, by name, each with what was found there last."""
    statement = rows.columns_of(SourceRow).order_by(SourceRow.fleet, SourceRow.name)
    if fleet is not None:
        statement = statement.where(SourceRow.fleet == fleet)
    return tuple(_source(one) for one in await rows.all_of(s, statement))


async def save(s: Session, source: Source, expected_rv: int | None) -> Source:
    """Change a source; its name and kind stay.

    Raises:
        NotFound: no such source.
        PreconditionFailed: it changed since it was read.
    """
    key = {"fleet": source.fleet, "name": source.name}
    changes = {"document": _document(source)}
    return replace(source, rv=await rows.save(s, SourceRow, key, changes, expected_rv))


async def save_report(s: Session, fleet: str, name: str, report: Report) -> None:
    """Write what was found; the source itself stays as it is."""
    table = rows.table_of(SourceRow)
    where = (table.c.fleet == fleet, table.c.name == name)
    await s.execute(update(table).where(*where).values(report=_report_json(report)))


async def remove(s: Session, fleet: str, name: str) -> None:
    """Forget a source.

    Raises:
        NotFound: no such source.
    """
    table = rows.table_of(SourceRow)
    where = (table.c.fleet == fleet, table.c.name == name)
    key = {"fleet": fleet, "name": name}
    gone = (await s.execute(delete(table).where(*where).returning(*table.c))).mappings().first()
    if gone is None:
        raise NotFound(rows.missing("source", key))
    deeds.saw(s, "sources", key, dict(gone))
    deeds.changed(s, "sources", key, None)


async def holders(s: Session, addresses: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Return the fleet and the name of the server at each of the addresses that has one."""
    wanted = ServerRow.address.in_(sorted(addresses))
    found = await s.execute(
        select(ServerRow.address, ServerRow.fleet, ServerRow.name).where(wanted)
    )
    return {address: (fleet, name) for address, fleet, name in found}


async def let_go(s: Session, fleet: str, name: str) -> None:
    """Have the servers of a source be as if somebody had registered them."""
    table = rows.table_of(ServerRow)
    where = (table.c.fleet == fleet, table.c.source == name)
    await s.execute(update(table).where(*where).values(source="", joined=True, rv=table.c.rv + 1))


def _document(source: Source) -> dict[str, Any]:
    return rows.values_of(source, *_COLUMNS, "flags") | {"flags": asdict(source.flags)}


def _source(row: Mapping[str, Any]) -> tuple[Source, Report]:
    document = dict(row["document"])
    kind, flags = SourceKind(document.pop("kind")), ServerFlags(**document.pop("flags"))
    columns = {name: row[name] for name in _COLUMNS}
    return Source(**columns, **document, kind=kind, flags=flags), _report(row["report"])


def _report_json(report: Report) -> dict[str, Any]:
    return {
        "fault": report.fault,
        "addresses": list(report.addresses),
        "missing": {one: at.isoformat() for one, at in report.missing.items()},
        "refused": dict(report.refused),
        "left": {one: at.isoformat() for one, at in report.left.items()},
    }


def _report(document: Mapping[str, Any]) -> Report:
    return Report(
        fault=document["fault"],
        addresses=tuple(document["addresses"]),
        missing=_times(document["missing"]),
        refused=document["refused"],
        left=_times(document["left"]),
    )


def _times(document: Mapping[str, str]) -> dict[str, datetime]:
    return {one: datetime.fromisoformat(at) for one, at in document.items()}
