"""One database for all simulated processes: SQLite, but who waits for it lets virtual time pass.

It keeps one order of writes, as a server would whose writers all want the same row. A transaction
that writes has an end, also if who began it froze. When it is down nothing gets through; an answer
to a commit may get lost.
"""

import asyncio
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from control_plane.store import sqlite
from control_plane.store.database import Database
from control_plane.store.engines import BUSY_S, IDLE_S, Engines, dumps
from control_plane.store.sqlite import Use
from tests.simulation.virtual import OUTSIDE, Node

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_LONGEST_S = IDLE_S * 5 / 3  # a transaction that writes
_QUICK_S = 0.002


class Store:
    """The server side: who may write, and what goes wrong."""

    def __init__(self, file: Path, chance: random.Random, now: Callable[[], float]) -> None:
        self.file = file
        self.down = False
        self.slow_s = 0.0
        self.loses = 0.0  # this part of all answers to commits
        self._chance = chance
        self._now = now
        self._writer: Connection | None = None
        self._queue: deque[tuple[Connection, asyncio.Future[None]]] = deque()
        self._end: asyncio.TimerHandle | None = None
        self._look = self.open()

    def open(self) -> sqlite3.Connection:
        """Return a connection whose clock is the virtual one."""
        raw = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        raw.create_function("strftime", -1, self._clock)
        for setting in ("journal_mode = WAL", "synchronous = OFF", "foreign_keys = ON"):
            raw.execute(f"PRAGMA {setting}")
        return raw

    def ask(self, statement: str, *parameters: Any) -> list[Any]:
        """Look at what is committed, past everything that may go wrong."""
        return self._look.execute(statement, parameters).fetchall()

    def close(self) -> None:
        self._look.close()

    def _clock(self, _form: str, _now: str, plus: str = "0 seconds") -> str:
        at = EPOCH + timedelta(seconds=self._now() + float(plus.split(maxsplit=1)[0]))
        return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}000"

    async def travels(self) -> None:
        """Let a question or an answer take its time."""
        await asyncio.sleep(_QUICK_S * self._chance.random() + self.slow_s * self._chance.random())

    def loses_this(self) -> bool:
        """Whether this answer gets lost."""
        return self.loses > 0 and self._chance.random() < self.loses

    async def turn(self, one: "Connection") -> None:
        """Wait until nobody else writes."""
        if self._writer is not None:
            waiting = asyncio.get_running_loop().create_future()
            self._queue.append((one, waiting))
            try:
                async with asyncio.timeout(BUSY_S):
                    await waiting
            except TimeoutError:
                self.release(one)
                raise broken("another transaction takes too long") from None
            except asyncio.CancelledError:
                self.release(one)
                raise
            return
        self._begin(one)

    def _begin(self, one: "Connection") -> None:
        self._writer = one
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(_LONGEST_S, self._too_long, one, context=OUTSIDE)

    def _too_long(self, one: "Connection") -> None:
        if self._writer is one:
            one.abort()

    def release(self, one: "Connection") -> None:
        """Let the next one write."""
        if self._writer is not one:
            return
        self._writer = None
        if self._end is not None:
            self._end.cancel()
        while self._queue:
            following, waiting = self._queue.popleft()
            if not waiting.done():
                self._begin(following)
                waiting.set_result(None)
                return


def broken(why: str) -> sqlite3.OperationalError:
    """Return the error of a database that does not answer."""
    error = sqlite3.OperationalError(why)
    error.sqlite_errorname = "SQLITE_BUSY"
    return error


class Connection(sqlite.Connection):
    """A process's connection."""

    def __init__(self, store: Store, node: Node, use: Use) -> None:
        super().__init__(str(store.file), use)
        self._store, self._node = store, node
        self._aborted = False

    def __await__(self) -> Generator[Any, None, "Connection"]:
        return self._opened().__await__()

    async def _opened(self) -> "Connection":
        await self._store.travels()
        self._check()
        self._connection = self._store.open()
        self._connection.execute(f"PRAGMA query_only = {int(self._use is not Use.WRITES)}")
        return self

    async def _execute(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Set a connection up: there is no thread that could do it."""
        return fn(*args, **more)

    def _check(self) -> None:
        if not self._node.alive or self._store.down or self._aborted:
            raise broken("the database does not answer")

    async def statement(self, run: Callable[..., None], call: Any) -> None:
        """Run a statement; the first one of a transaction that writes waits for its turn."""
        inside = self._conn.in_transaction
        if not inside or self._use is Use.READS:
            await self._store.travels()
        self._check()
        if not inside and self._use is Use.WRITES:
            await self._store.turn(self)
        try:
            self._check()
            run(self._conn, call)
        finally:
            if not self._conn.in_transaction:
                self._store.release(self)

    async def commit(self) -> None:
        """Commit; it may have happened though no answer comes."""
        if self._use is Use.WRITES:
            await self._store.travels()
        self._check()
        self._conn.commit()
        self._store.release(self)
        if self._use is Use.WRITES:
            lost = self._store.loses_this()
            await self._store.travels()
            if lost or not self._node.alive or self._store.down:
                raise broken("the answer to the commit was lost")

    async def rollback(self) -> None:
        """Undo what is not committed."""
        self.abort()
        self._aborted = False

    def abort(self) -> None:
        """End the transaction from outside."""
        self._aborted = True
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()
        self._store.release(self)

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Let go of everything."""
        self.abort()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SimulatedDatabase(Database):
    """The real one, over simulated connections; as on PostgreSQL, writers do not queue in it."""

    def __init__(self, store: Store, node: Node) -> None:
        self.connections: list[Connection] = []
        writer, reader, glancer = (
            self._engine(store, node, use) for use in (Use.WRITES, Use.READS, Use.GLANCES)
        )
        super().__init__(Engines(writer, reader, glancer), BUSY_S)
        self._turn = None

    def _engine(self, store: Store, node: Node, use: Use) -> AsyncEngine:
        async def connected() -> Connection:
            made = Connection(store, node, use)
            self.connections.append(made)
            return await made

        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(store.file)),
            async_creator=connected,
            json_serializer=dumps,
            pool_size=5,
            max_overflow=10,
            pool_timeout=BUSY_S,
        )
        begin = "BEGIN IMMEDIATE" if use is Use.WRITES else "BEGIN"

        def begun(connection: SqlConnection) -> None:
            connection.exec_driver_sql(begin)

        event.listen(engine.sync_engine, "begin", begun)
        return engine

    def cut(self) -> None:
        """End all connections, as they end with their process."""
        for one in self.connections:
            one.stop()
