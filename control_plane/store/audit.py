"""The audit chain in the database: a record is sealed and added at the end of its transaction.

Its number and the seal before it come from the head, whose lock is held from there to the commit,
so numbers have no gaps. A trigger moves the head along and refuses whatever does not follow it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.domain.audit import Head, Kept, Keys, Record, document, moment
from control_plane.domain.errors import SchemaMismatch
from control_plane.store import rows
from control_plane.store.audit_tables import AuditHeadRow, AuditRow
from control_plane.store.deeds import Doing
from control_plane.store.tables import clock

_HEAD = select(AuditHeadRow.seq, AuditHeadRow.seal)
_TAKEN = _HEAD.add_columns(clock()).with_for_update()
_INSERTED = insert(rows.table_of(AuditRow))
_COLUMNS = [rows.table_of(AuditRow).c[name] for name in Record._fields]
_NEXT = (
    select(*_COLUMNS)
    .where(AuditRow.seq > bindparam("after"))
    .order_by(AuditRow.seq)
    .limit(bindparam("most"))
)


async def append(s: AsyncConnection, keys: Keys, done: Doing) -> None:
    """Add the record of what a transaction did; nothing may be written after it.

    Raises:
        SchemaMismatch: the chain has no head.
    """
    found = (await s.execute(_TAKEN)).first()
    if found is None:
        raise SchemaMismatch("The database has no audit chain; it was not made by `upgrade`.")
    seq, seal, at = found
    deed = done.deed
    record = Record(
        seq=seq + 1,
        at=moment(at),
        actor=deed.actor,
        token=deed.token,
        address=deed.address,
        request=deed.request,
        call=deed.call,
        document=document(done.events, done.changes),
        key="",
        prev=seal,
    )
    await s.execute(_INSERTED, keys.sealed(record)._asdict())


async def after(s: AsyncConnection, seq: int, most: int) -> Sequence[Sequence[Any]]:
    """Return the records after a number, in order, each in the order of `Record`."""
    return (await s.execute(_NEXT, {"after": seq, "most": most})).all()


async def newest(
    s: AsyncConnection, wanted: Mapping[str, str], before: int, most: int
) -> tuple[Record, ...]:
    """Return wanted records below a number, the newest first.

    `wanted` has what `actor`, `token`, `request` and `address` are, `since` and `until`.
    """
    statement = select(*_COLUMNS).where(AuditRow.seq < before)
    for name, value in wanted.items():
        match name:
            case "since":
                statement = statement.where(AuditRow.at >= value)
            case "until":
                statement = statement.where(AuditRow.at < value)
            case _:
                statement = statement.where(rows.table_of(AuditRow).c[name] == value)
    found = await s.execute(statement.order_by(AuditRow.seq.desc()).limit(most))
    return tuple(Record(*one) for one in found)


async def head(s: AsyncConnection) -> Head:
    """Return the newest record's number and seal."""
    return (await kept(s)).head


async def kept(s: AsyncConnection) -> Kept:
    """Return the chain's head, and up to where it was forgotten.

    Raises:
        SchemaMismatch: the chain has no head.
    """
    found = await rows.maybe_one(s, AuditHeadRow, name="chain")
    if found is None:
        raise SchemaMismatch("The database has no audit chain; it was not made by `upgrade`.")
    return Kept(
        Head(found["seq"], found["seal"]),
        Head(found["forgotten_seq"], found["forgotten"]),
        found["forgotten_key"],
        found["forgotten_seal"],
    )


async def forget(s: AsyncConnection, *, keys: Keys, before: datetime, most: int) -> int:
    """Delete the oldest records, `most` at a time, from `before` a time; return how many.

    Up to where, is sealed: so the rest can be checked, and nobody else forgets.
    """
    begun, limit = (await kept(s)).forgotten, moment(before)
    first = await after(s, begun.seq, most)
    old = list(takewhile(lambda one: one[1] < limit, first))
    if not old:
        return 0
    up_to = Head(old[-1][0], old[-1][10])
    key, seal = keys.forgotten(up_to)
    changes = {
        "forgotten_seq": up_to.seq,
        "forgotten": up_to.seal,
        "forgotten_key": key,
        "forgotten_seal": seal,
    }
    await s.execute(update(rows.table_of(AuditHeadRow)).values(**changes))
    table = rows.table_of(AuditRow)
    await s.execute(delete(table).where(table.c.seq <= up_to.seq))
    return len(old)
