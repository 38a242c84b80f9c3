"""The journal: events in the order of their commits, numbered without gaps.

The number comes from a counter row whose lock is held to the end of the writing transaction. So
who read up to n has seen everything up to n; a sequence would hand out numbers that become
visible out of order. Append last in a transaction: other writers wait from there on.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, text, update

from control_plane.domain.errors import SchemaMismatch
from control_plane.domain.events import Event, EventKind, Wanted
from control_plane.store import deeds, notices, rows
from control_plane.store.database import Session
from control_plane.store.tables import OF_A_ROLLOUT, CounterRow, EventRow, LiveRolloutRow

_COUNTER = "journal"
_FORGOTTEN = "journal forgotten"
_RECENT = 50_000  # records in which what a server did lately is looked for
_TAKEN = (
    update(rows.table_of(CounterRow))
    .where(CounterRow.name == _COUNTER)
    .values(value=CounterRow.value + bindparam("more"))
    .returning(CounterRow.value)
)
_TAKEN_AND_TOLD = _TAKEN.returning(notices.sent("told"))
_INSERTED = insert(rows.table_of(EventRow))
_NTH = func.row_number().over(partition_by=EventRow.model, order_by=EventRow.seq.desc())
_EACH = (
    select(EventRow.seq, _NTH.label("nth"))
    .where(
        EventRow.model.in_(bindparam("models", expanding=True)),
        EventRow.seq > bindparam("after"),
        EventRow.fleet == bindparam("fleet"),
        EventRow.kind == bindparam("kind"),
    )
    .subquery()
)
_OF_EACH = (
    rows.columns_of(EventRow)
    .join(_EACH, _EACH.c.seq == EventRow.seq)
    .where(_EACH.c.nth <= bindparam("most"))
    .order_by(EventRow.seq)
)


async def append(s: Session, *events: Event) -> tuple[Event, ...]:
    """Append events and return them with their numbers; others hear of it at the commit."""
    if not events:
        return ()
    last = (await _took(s, events)).scalar()
    if last is None:
        raise SchemaMismatch("The database has no journal counter; it was not made by `upgrade`.")
    first = int(last) - len(events) + 1
    numbered = tuple(replace(one, seq=first + i) for i, one in enumerate(events))
    values = [rows.values_of(one) for one in numbered]
    await s.execute(_INSERTED, values)
    deeds.told(s, numbered)
    return numbered


async def _took(s: Session, events: Collection[Event]) -> Any:
    more = {"more": len(events)}
    if not notices.heard_by_others(s):
        return await s.execute(_TAKEN, more)
    told = notices.told(s, notices.Kind.JOURNAL, (one.fleet for one in events))
    return await s.execute(_TAKEN_AND_TOLD, more | {"told": told})


async def events(
    s: Session, after: int, limit: int, *, fleet: str = "", model: str = "", kind: str = ""
) -> tuple[Event, ...]:
    """Return events with a number above `after`, in order; "" stands for any."""
    statement = rows.columns_of(EventRow).where(EventRow.seq > after)
    if fleet:
        statement = statement.where(EventRow.fleet == fleet)
    if model:
        statement = statement.where(EventRow.model == model)
    if kind:
        statement = statement.where(EventRow.kind == kind)
    return await _events(s, statement.limit(limit))


async def newest(
    s: Session, wanted: Wanted, *, between: tuple[int, int], limit: int
) -> tuple[Event, ...]:
    """Return the newest wanted events of those numbered from one number to another, in order."""
    statement = rows.columns_of(EventRow).where(EventRow.seq.between(*between))
    for name in ("fleet", "model", "server", "actor"):
        if value := getattr(wanted, name):
            statement = statement.where(getattr(EventRow, name) == value)
    if wanted.kind:
        kinds = [str(one) for one in EventKind if f"{one}.".startswith(f"{wanted.kind}.")]
        statement = statement.where(EventRow.kind.in_(kinds))
    if wanted.since:
        statement = statement.where(EventRow.at >= wanted.since)
    if wanted.until:
        statement = statement.where(EventRow.at < wanted.until)
    found = await rows.all_of(s, statement.order_by(EventRow.seq.desc()).limit(limit))
    return tuple(_event(one) for one in reversed(found))


async def told_at(s: Session, seq: int) -> datetime | None:
    """Return the time of the first event numbered so or higher; None if there is none."""
    first = select(EventRow.at).where(EventRow.seq >= seq).order_by(EventRow.seq).limit(1)
    return (await s.execute(first)).scalar()


async def newest_of_each(
    s: Session, fleet: str, models: Collection[str], kind: EventKind, *, after: int, most: int
) -> tuple[Event, ...]:
    """Return events of a kind above `after`, in order: of each of these models the newest."""
    asked = {"fleet": fleet, "models": sorted(models), "kind": str(kind)}
    found = await s.execute(_OF_EACH, asked | {"after": after, "most": most})
    return tuple(_event(one) for one in found.mappings())


async def of_rollout(s: Session, fleet: str, rollout: str) -> tuple[Event, ...]:
    """Return all events of a rollout, in order."""
    ours = (EventRow.fleet == fleet, EventRow.rollout == rollout, text(OF_A_ROLLOUT))
    return await _events(s, rows.columns_of(EventRow).where(*ours))


async def of_fleet(
    s: Session,
    fleet: str,
    kinds: Collection[EventKind],
    models: Collection[str],
    between: tuple[int, int] | None = None,
) -> tuple[Event, ...]:
    """Return a fleet's events of these kinds about these models or none, in order.

    `between` holds the first and the last number that are of interest.
    """
    statement = rows.columns_of(EventRow).where(
        EventRow.fleet == fleet,
        EventRow.kind.in_([str(one) for one in kinds]),
        EventRow.model.in_(["", *models]),
    )
    if between is not None:
        statement = statement.where(EventRow.seq.between(*between))
    return await _events(s, statement)


async def of_server(
    s: Session, fleet: str, server: str, kinds: Collection[EventKind], limit: int
) -> tuple[Event, ...]:
    """Return the newest events of these kinds about a server, in order; no very old ones."""
    statement = rows.columns_of(EventRow).where(
        EventRow.fleet == fleet,
        EventRow.server == server,
        EventRow.kind.in_([str(one) for one in kinds]),
        EventRow.seq > await last_seq(s) - _RECENT,
    )
    found = await rows.all_of(s, statement.order_by(EventRow.seq.desc()).limit(limit))
    return tuple(_event(one) for one in reversed(found))


async def _events(s: Session, statement: Any) -> tuple[Event, ...]:
    found = await rows.all_of(s, statement.order_by(EventRow.seq))
    return tuple(_event(one) for one in found)


def _event(row: Any) -> Event:
    return Event(**{**row, "kind": EventKind(row["kind"])})


async def last_seq(s: Session) -> int:
    """Return the number of the newest event; 0 before the first."""
    taken = select(CounterRow.value).where(CounterRow.name == _COUNTER)
    return int((await s.execute(taken)).scalar() or 0)


async def first_seq(s: Session) -> int:
    """Return the number from which on nothing was forgotten; 0 if there are no events."""
    oldest = int((await s.execute(select(func.min(EventRow.seq)))).scalar() or 0)
    return max(oldest, await _forgotten(s) + 1) if oldest else 0


async def forget(s: Session, *, before: datetime, most: int, but: Collection[EventKind]) -> int:
    """Go past the oldest `most` events and delete those from `before` a time; return how many.

    Events of some kinds and those of live rollouts stay; nobody goes past them again.
    """
    seen = await _forgotten(s)
    oldest = select(EventRow.seq, EventRow.at).where(EventRow.seq > seen)
    found = (await s.execute(oldest.order_by(EventRow.seq).limit(most))).all()
    old = list(takewhile(lambda one: one.at < before, found))
    if not old:
        return 0
    last = old[-1].seq
    live = select(LiveRolloutRow.rollout)
    going = (EventRow.kind.not_in([str(one) for one in but]), EventRow.rollout.not_in(live))
    past = delete(rows.table_of(EventRow)).where(EventRow.seq > seen, EventRow.seq <= last, *going)
    await s.execute(past)
    await rows.upsert(s, CounterRow, name=_FORGOTTEN, value=last)
    return len(old)


async def _forgotten(s: Session) -> int:
    """Return the number up to which events were forgotten."""
    found = await rows.maybe_one(s, CounterRow, name=_FORGOTTEN)
    return int(found["value"]) if found else 0
