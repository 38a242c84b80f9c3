"""Engines: how this program connects to SQLite and PostgreSQL, and the settings both need.

SQLite's driver never begins transactions itself here (`isolation_level=None`); each engine says
with which statement its transactions begin, so that writers take the write lock at once and
never have to upgrade a read lock.
"""

import asyncio
import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import aiosqlite
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane.domain.errors import FieldInvalid, Invalid, StoreBusy
from control_plane.store import sqlite

BUSY_S = 5.0  # how long a statement waits for another's lock
IDLE_S = 2.4  # who freezes inside a transaction loses its locks so soon: well before its leases
_LONGEST = 5 / 3  # of that: a transaction that writes, idle or not
_TRANSACTION_TIMEOUT_FROM = 17_00_00  # older servers do not end who froze between a batch's parts
_CACHE_KB = 512  # of each connection that reads
_WAL_IS_SAFE_FROM = (3, 51, 3)  # older ones can corrupt a WAL that two connections reset at once
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}


def dumps(value: Any) -> str:
    """Write a document.

    Raises:
        Invalid: it holds something that JSON has no word for, such as NaN.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise Invalid(f"A value cannot be stored: {error}.") from None


def journal_mode(version: tuple[int, ...]) -> str:
    """Return the journal mode that is safe with this version of SQLite."""
    return "WAL" if version >= _WAL_IS_SAFE_FROM else "TRUNCATE"


def address(url: str) -> URL:
    """Read a database URL: a SQLite file or PostgreSQL.

    Raises:
        FieldInvalid: not a URL, another engine, or SQLite without a file.
    """
    hint = "sqlite:///path/to/file.db or postgresql://user@host/name"
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise FieldInvalid("database", "this is not a database URL", hint=hint) from None
    if parsed.drivername not in _DRIVERS:
        raise FieldInvalid("database", f"{parsed.drivername} is not supported", hint=hint)
    found = parsed.set(drivername=_DRIVERS[parsed.drivername])
    if found.drivername == "sqlite" and (found.database or ":memory:") == ":memory:":
        raise FieldInvalid("database", "SQLite needs a file", hint=hint)
    return found


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines of the write transactions, of the read transactions and of short ones."""

    writer: AsyncEngine
    reader: AsyncEngine
    glancer: AsyncEngine
    threads: set[Thread] = field(default_factory=set)  # one per SQLite connection

    async def close(self) -> None:
        """Close every connection and wait for their threads.

        A connection that was abandoned, by a cancellation say, ends its thread a little later;
        that thread must not find its event loop closed.
        """
        await self.glancer.dispose()
        await self.reader.dispose()
        await self.writer.dispose()
        for thread in tuple(self.threads):
            await asyncio.to_thread(thread.join, BUSY_S)


def connect(where: URL, busy_s: float, idle_s: float) -> Engines:
    """Return the engines for a database; SQLite gets exactly one connection that writes.

    A read transaction sees one snapshot.
    """
    if where.drivername == "sqlite":
        threads: set[Thread] = set()
        writer = _sqlite(where, sqlite.Use.WRITES, threads, pool_size=1, busy_s=busy_s)
        reader = _sqlite(where, sqlite.Use.READS, threads, pool_size=4, busy_s=busy_s)
        glancer = _sqlite(where, sqlite.Use.GLANCES, threads, pool_size=2, busy_s=busy_s)
        return Engines(writer, reader, glancer, threads)
    options = _postgres_options(where, busy_s, idle_s)
    writer = create_async_engine(where, pool_size=5, max_overflow=10, **options)
    _limit(writer, idle_s * _LONGEST)
    reader = create_async_engine(
        where,
        pool_size=5,
        max_overflow=10,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        **options,
    )
    return Engines(writer, reader, reader)


def blocking(where: URL, *, read_only: bool) -> Engine:
    """Return a blocking engine for schema work; a writing one waits long for another upgrade."""
    if where.drivername != "sqlite":
        return create_engine(where, pool_size=1, **_postgres_options(where, BUSY_S, 2.5))
    engine = create_engine(where, connect_args={"isolation_level": None})
    begin, busy_s = ("BEGIN", BUSY_S) if read_only else ("BEGIN IMMEDIATE", 60.0)
    _prepare(engine, begin, busy_s)
    return engine


def file_of(where: URL) -> Path | None:
    """Return the SQLite file behind an address; None for PostgreSQL."""
    return Path(where.database or "").resolve() if where.drivername == "sqlite" else None


def _sqlite(
    where: URL, use: sqlite.Use, threads: set[Thread], *, pool_size: int, busy_s: float
) -> AsyncEngine:
    async def connected() -> aiosqlite.Connection:
        connection = sqlite.connect(where.database or "", use)
        connection._thread.daemon = True
        threads.difference_update([one for one in threads if not one.is_alive()])
        threads.add(connection._thread)
        return await connection

    engine = create_async_engine(
        where.set(drivername="sqlite+aiosqlite"),
        async_creator=connected,
        json_serializer=dumps,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=busy_s,
    )
    begin = "BEGIN IMMEDIATE" if use is sqlite.Use.WRITES else "BEGIN"
    _prepare(engine.sync_engine, begin, busy_s)
    return engine


def _prepare(engine: Engine, begin: str, busy_s: float) -> None:
    mode = journal_mode(sqlite3.sqlite_version_info)

    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_s * 1000)}")
        cursor.execute(f"PRAGMA journal_mode = {mode}")
        if cursor.fetchone()[0].upper() != mode:
            raise StoreBusy(f"SQLite did not change its journal mode to {mode}; is it in use?")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if begin == "BEGIN":
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        else:  # the commit alone may wait for readers, and it does not hold up the event loop
            cursor.execute("PRAGMA cache_spill = OFF")
        cursor.close()

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _limit(engine: AsyncEngine, longest_s: float) -> None:
    """Let no transaction hold its locks for longer, whatever became of who began it.

    A server that waits for the rest of a batch does not call that idle, so nothing is sent as one:
    several rows go in one statement.
    """
    engine.dialect.use_insertmanyvalues_wo_returning = True

    def connected(connection: Any, _record: Any) -> None:
        if connection.driver_connection.info.server_version >= _TRANSACTION_TIMEOUT_FROM:
            cursor = connection.cursor()
            cursor.execute(f"SET transaction_timeout = {int(longest_s * 1000)}")
            cursor.close()
            connection.commit()

    event.listen(engine.sync_engine, "connect", connected)


def _postgres_options(where: URL, busy_s: float, idle_s: float) -> dict[str, Any]:
    own = where.query.get("options", "")
    given = own if isinstance(own, str) else " ".join(own)
    settings = (
        f"-c timezone=UTC -c lock_timeout={int(busy_s * 1000)}"
        f" -c idle_in_transaction_session_timeout={int(idle_s * 1000)} {given}"
    )
    return {
        "json_serializer": dumps,
        "pool_pre_ping": True,
        "pool_timeout": busy_s,
        "connect_args": {
            "options": settings.strip(),
            "connect_timeout": int(BUSY_S),
            "tcp_user_timeout": int(2 * BUSY_S * 1000),
            **_KEEPALIVE,
        },
    }
