"""Idempotency keys: a request that comes twice gets its first answer.

The answer is written in the transaction of the effect, so it holds across crashes and replicas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from control_plane.domain.errors import IdempotencyKeyReused, StoreBusy
from control_plane.store import rows
from control_plane.store.database import Session
from control_plane.store.tables import IdempotencyRow, clock

_KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as it was given."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


async def recall(s: Session, actor: str, key: str, body_hash: str) -> Stored | None:
    """Return the answer that this key got in the last 24 hours, if any.

    Raises:
        IdempotencyKeyReused: it was used with another body.
    """
    kept = IdempotencyRow.created_at > clock(-_KEPT.total_seconds())
    where = (IdempotencyRow.actor == actor, IdempotencyRow.key == key, kept)
    found = next(iter(await rows.all_of(s, rows.columns_of(IdempotencyRow).where(*where))), None)
    if found is None:
        return None
    if found["body_hash"] != body_hash:
        raise IdempotencyKeyReused(key=key)
    return Stored(found["status"], found["body"], found["headers"])


async def remember(
    s: Session, actor: str, key: str, body_hash: str, answer: Stored, now: datetime
) -> None:
    """Keep an answer for 24 hours.

    Raises:
        StoreBusy: the same request was carried out meanwhile; a retry gets its answer.
    """
    stored = rows.values_of(answer) | {"body_hash": body_hash, "created_at": now}
    if await rows.insert_new(s, IdempotencyRow, actor=actor, key=key, **stored):
        return
    table = rows.table_of(IdempotencyRow)
    old = (table.c.actor == actor, table.c.key == key, table.c.created_at <= now - _KEPT)
    again = update(table).where(*old).values(**stored).returning(table.c.key)
    if (await s.execute(again)).first() is None:
        raise StoreBusy("A request with this Idempotency-Key was just carried out; send it again.")


async def forget(s: Session, *, most: int) -> int:
    """Delete up to `most` answers that are recalled no more; return how many."""
    old = IdempotencyRow.created_at <= clock(-_KEPT.total_seconds())
    return await rows.delete_some(s, IdempotencyRow, most, old)
