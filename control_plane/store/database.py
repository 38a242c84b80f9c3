"""The database: transactions, its clock, and pages.

One write transaction at a time on SQLite, begun with the write lock, so writers queue here in
order instead of polling the file's lock. Commit before answering; nothing slow inside.
"""

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeAlias, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from control_plane.domain.audit import Keys
from control_plane.domain.errors import FieldInvalid, SchemaMismatch, StoreBusy
from control_plane.store import audit, deeds, engines
from control_plane.store.failures import translated
from control_plane.store.tables import InstallationRow, clock

Session: TypeAlias = AsyncConnection
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted; `after` is a `Paged.next` from before."""

    size: int = 100
    after: str = ""

    def of(self, found: Sequence[T], key: Callable[[T], tuple[Any, ...]]) -> "Paged[T]":
        """Return the part itself; one more than asked for was looked for, to see if there is."""
        items = tuple(found[: self.size])
        return Paged(items, cursor(*key(items[-1])) if len(found) > self.size else "")


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """Part of a list; `next` is "" at its end. Keyed by content, so stable under writes."""

    items: tuple[T, ...]
    next: str


class Database:
    """A connection to the store; close it when done."""

    def __init__(
        self, opened: engines.Engines, busy_s: float, audit_keys: Keys | None = None
    ) -> None:
        self._engines = opened
        self._busy_s = busy_s
        self.audit_keys = audit_keys
        self.origin = secrets.token_hex(6)  # tells our notices from those of others
        self._turn = asyncio.Lock() if opened.writer.dialect.name == "sqlite" else None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        busy_s: float = engines.BUSY_S,
        idle_s: float = engines.IDLE_S,
        audit_keys: Keys | None = None,
    ) -> Self:
        """Return the database at `url`; nothing is sent before the first transaction.

        A statement waits `busy_s` for another's lock, and a transaction as long to begin.
        PostgreSQL ends a transaction in which nothing was asked for `idle_s`, and its locks.
        With keys, what a request writes is audited in the transaction that writes it.
        """
        return cls(engines.connect(engines.address(url), busy_s, idle_s), busy_s, audit_keys)

    @asynccontextmanager
    async def begin(self, within_s: float | None = None) -> AsyncIterator[Session]:
        """Run a write transaction: commit at the end, roll back on an error.

        PostgreSQL gets `within_s` for all of it; SQLite never takes longer than its locks.

        Raises:
            StoreBusy: locked too long, or the answer to the commit was lost (effect unknown).
        """
        async with (
            self._queued(),
            self._in_time(within_s),
            self._transaction(self._engines.writer) as s,
        ):
            doing = deeds.begin(s)
            yield s
            if doing and self.audit_keys:
                await audit.append(s, self.audit_keys, doing)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Session]:
        """Run a read-only transaction that sees one snapshot."""
        async with self._transaction(self._engines.reader) as s:
            yield s

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Session]:
        """Like `read`, for a few rows by their keys: SQLite answers in the event loop's thread."""
        async with self._transaction(self._engines.glancer) as s:
            yield s

    async def now(self, s: Session) -> datetime:
        """Return the time by the database's clock."""
        found: datetime = (await s.execute(select(clock()))).scalar_one()
        return found

    async def close(self) -> None:
        """Close every connection."""
        await self._engines.close()

    async def of_its_own(self) -> Any | None:
        """Return a driver's connection outside any pool, to be closed; None on SQLite."""
        if self._turn is not None:
            return None
        with translated():
            made = await self._engines.writer.raw_connection()
        driver = made.driver_connection
        made.detach()
        return driver

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[Session]:
        with translated():
            async with engine.begin() as s:
                s.info["origin"] = self.origin
                yield s

    @asynccontextmanager
    async def _in_time(self, within_s: float | None) -> AsyncIterator[None]:
        if within_s is None or self._turn is not None:
            yield
            return
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError:
            raise StoreBusy(f"The database did not answer within {within_s:g} s.") from None

    @asynccontextmanager
    async def _queued(self) -> AsyncIterator[None]:
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(self._busy_s):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreBusy("The database is busy: other writes are in progress.") from None
        try:
            yield
        finally:
            self._turn.release()


async def installation(s: Session) -> str:
    """Return the random id of this installation, made by the first migration."""
    found = (await s.execute(select(InstallationRow.id))).scalar()
    if found is None:
        raise SchemaMismatch("The database has no installation id; it was not made by `upgrade`.")
    return found


def cursor(*key: Any) -> str:
    """Return the opaque form of a list's last key."""
    text = json.dumps(key, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def key_of(after: str, *kinds: type) -> list[Any] | None:
    """Return the key inside an opaque cursor; None for the beginning.

    Raises:
        FieldInvalid: the cursor was not made by `cursor` for this list.
    """
    if not after:
        return None
    try:
        found = json.loads(base64.b64decode(after + "=" * (-len(after) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or [type(part) for part in found] != list(kinds):
        raise FieldInvalid("page_token", "this is not a page token of this list")
    return found
