"""Which migration a database is at, and which one this program needs; without Alembic."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

import control_plane
from control_plane.domain.errors import SchemaMismatch
from control_plane.store import engines
from control_plane.store.failures import translated

FOLDER = Path(control_plane.__file__).parent.parent / "migrations"
_VERSIONS = "alembic_version"
_NUMBERED = re.compile(r"(\d+)_\w+\.py")


def known() -> tuple[str, ...]:
    """Return the ids of all migrations, the oldest first; each begins its file's name."""
    names = (_NUMBERED.fullmatch(one.name) for one in (FOLDER / "versions").iterdir())
    return tuple(sorted(found.group(1) for found in names if found))


def current(url: str) -> str:
    """Return the id of the migration that the database is at; "" when it is empty."""
    file = engines.file_of(engines.address(url))
    if file is not None and not file.exists():
        return ""
    with connection_to(url, read_only=True) as connection:
        return at(connection)


async def at_now(s: AsyncConnection) -> str:
    """Return the id of the migration that an upgraded database is at; others may move it on."""
    return str((await s.execute(text(f"SELECT version_num FROM {_VERSIONS}"))).scalar())  # noqa: S608


def check(url: str) -> None:
    """Make sure that the database has the schema which this program needs.

    Raises:
        SchemaMismatch: it is empty, older or newer.
        StoreBusy: it is locked or does not answer.
    """
    newest, is_at = known()[-1], current(url)
    if is_at and is_at not in known():
        raise newer(is_at)
    if is_at != newest:
        told = f"is at {is_at}" if is_at else "has no schema yet"
        message = f"The database {told}; this program needs {newest}. Run `tfsctl db upgrade`."
        raise SchemaMismatch(message, current=is_at, needed=newest)


def newer(is_at: str) -> SchemaMismatch:
    """Return the error of a database that a newer program has upgraded."""
    message = (
        f"The database is at {is_at}, which this program does not know: it is newer than this."
    )
    return SchemaMismatch(message, hint="run a program of the database's version", current=is_at)


@contextmanager
def connection_to(url: str, *, read_only: bool) -> Iterator[Connection]:
    """Open a blocking transaction."""
    engine = engines.blocking(engines.address(url), read_only=read_only)
    try:
        with translated(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def at(connection: Connection) -> str:
    """Return the id of the migration that this connection's database is at; "" when none."""
    if not inspect(connection).has_table(_VERSIONS):
        return ""
    return connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar() or ""  # noqa: S608
