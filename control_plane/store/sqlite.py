"""SQLite connections that cross to their thread once per statement, or not at all.

The driver's own cursors cross four times: to be made, to execute, to fetch and to be closed. That
is most of what a statement costs here. Results are small, so all rows are fetched at once.

In writes and glances only what may wait crosses: the begin, which takes the lock, and
the commit of a write, for the disk. The statements between run in the event loop's thread: they
take 20 to 60 µs, the way to another thread and back 130 µs, and far more while the loop is busy.
"""

import enum
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Self

import aiosqlite


class Cursor:
    """What SQLAlchemy's dialect uses of a cursor."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        """Execute a statement and fetch its rows."""
        await self._connection.statement(self._run, lambda one: one.execute(statement, parameters))
        return self

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> Self:
        """Execute a statement for each of the parameters."""
        await self._connection.statement(
            self._run, lambda one: one.executemany(statement, parameters)
        )
        return self

    async def fetchall(self) -> list[Any]:
        """Return the rows that were not returned yet."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Drop what is left; the driver's cursor is closed already."""
        self._rows = []

    def _run(
        self, raw: sqlite3.Connection, call: Callable[[sqlite3.Connection], sqlite3.Cursor]
    ) -> None:
        cursor = call(raw)
        self._rows = cursor.fetchall() if cursor.description else []
        self.description, self.rowcount = cursor.description, cursor.rowcount
        self.lastrowid = cursor.lastrowid
        cursor.close()


class Use(enum.Enum):
    """What a connection's transactions are for."""

    WRITES = enum.auto()  # they begin with the write lock
    READS = enum.auto()  # of any size: every statement crosses
    GLANCES = enum.auto()  # a few rows by their keys


class Connection(aiosqlite.Connection):
    """A connection whose cursors are `Cursor`."""

    def __init__(self, file: str, use: Use) -> None:
        crosses = use is Use.READS
        super().__init__(
            lambda: sqlite3.connect(file, isolation_level=None, check_same_thread=crosses), 64
        )
        self._use = use

    def cursor(self) -> Cursor:  # type: ignore[override]
        """Return a cursor; nothing is done in the thread for it."""
        return Cursor(self)

    async def statement(self, run: Callable[..., None], call: Any) -> None:
        """Run a statement: at once where it cannot wait, else in the connection's thread."""
        raw = self._conn
        if self._use is not Use.READS and raw.in_transaction:
            run(raw, call)
        else:
            await self._execute(self._locking, run, raw, call)  # type: ignore[no-untyped-call]

    async def commit(self) -> None:
        """Commit; what wrote nothing does not wait for the disk."""
        if self._use is Use.GLANCES:
            self._conn.commit()
        else:
            await super().commit()

    def _locking(self, run: Callable[..., None], raw: sqlite3.Connection, call: Any) -> None:
        """Run it; a glance that begins takes the lock that its first statement would wait for."""
        run(raw, call)
        if self._use is Use.GLANCES and raw.in_transaction:
            raw.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()


def connect(file: str, use: Use) -> Connection:
    """Return a connection to be awaited; it begins no transaction by itself."""
    return Connection(file, use)
