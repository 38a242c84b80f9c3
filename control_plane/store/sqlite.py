"""SQLite connections that cross to their thread once per statement, or not at all.

The driver's own cursors cross four times: to be made, to execute, to fetch and to be closed. That
is most of what a statement costs here. Results are small, so all rows are fetched at once.

Inside a write transaction, which holds the lock that others could make it wait for, statements run
in the event loop's thread: they take 20 to 60 µs, the way to another thread and back 130 µs. What
may wait still crosses: the begin for the lock, the commit for the disk.
"""

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


class Connection(aiosqlite.Connection):
    """A connection whose cursors are `Cursor`."""

    def __init__(self, file: str, *, writes: bool) -> None:
        super().__init__(
            lambda: sqlite3.connect(file, isolation_level=None, check_same_thread=not writes), 64
        )
        self._writes = writes

    def cursor(self) -> Cursor:  # type: ignore[override]
        """Return a cursor; nothing is done in the thread for it."""
        return Cursor(self)

    async def statement(self, run: Callable[..., None], call: Any) -> None:
        """Run a statement: at once where it cannot wait, else in the connection's thread."""
        raw = self._conn
        if self._writes and raw.in_transaction:
            run(raw, call)
        else:
            await self._execute(run, raw, call)  # type: ignore[no-untyped-call]


def connect(file: str, *, writes: bool) -> Connection:
    """Return a connection to be awaited; it begins no transaction by itself.

    One that `writes` takes the write lock with the statement that begins its transactions.
    """
    return Connection(file, writes=writes)
