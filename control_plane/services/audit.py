"""The audit chain: look at it, check it, say where it ends."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from control_plane.domain.audit import Checker, Head, Record, anchors
from control_plane.domain.errors import Conflict
from control_plane.store import audit as store
from control_plane.store.database import Database

_BATCH: Final = 5_000  # records in a transaction: some milliseconds


async def newest(
    db: Database, wanted: Mapping[str, str], before: int, most: int
) -> tuple[Record, ...]:
    """Return wanted records numbered below `before`, the newest first; see `store.audit.newest`."""
    async with db.read() as s:
        return await store.newest(s, wanted, before, most)


async def head(db: Database) -> Head:
    """Return the newest record's number and seal."""
    async with db.read() as s:
        return await store.head(s)


async def verify(db: Database, anchored: Callable[[], Iterable[str]]) -> Checker:
    """Check the whole chain, against the lines of an anchor file too; return what was found.

    Others write meanwhile; what is forgotten meanwhile has it begin anew.

    Raises:
        Conflict: this process has no audit keys.
    """
    if db.audit_keys is None:
        raise Conflict("This process was started without audit keys.")
    known = anchors(await asyncio.to_thread(lambda: list(anchored())))
    while True:
        async with db.read() as s:
            kept = await store.kept(s)
        checker = Checker(db.audit_keys, kept, known)
        if await _walked(db, checker):
            return checker


async def _walked(db: Database, checker: Checker) -> bool:
    """Go along the chain to its end; False if its beginning was forgotten meanwhile."""
    seq = checker.kept.forgotten.seq
    while True:
        async with db.read() as s:
            found, kept = await store.after(s, seq, _BATCH), await store.kept(s)
        if kept.forgotten != checker.kept.forgotten:
            return False
        await asyncio.to_thread(checker.take, found)
        if len(found) < _BATCH:
            checker.end(kept.head)
            return True
        seq = found[-1][0]


def verdict_json(checker: Checker) -> dict[str, Any]:
    """What a check found, as the API shows it."""
    return {
        "ok": not checker.wrong,
        "checked": checker.checked,
        "first": checker.kept.forgotten.seq + 1,
        "wrong": checker.wrong,
        "faults": checker.faults,
    }


def record_json(record: Record) -> dict[str, Any]:
    """A record, as the API shows it."""
    told = record._asdict()
    did: dict[str, Any] = json.loads(told.pop("document"))
    return told | did
