"""The schema: which migration a database is at, and bringing it to the newest.

These functions block; call them from a thread inside an event loop. Two processes may upgrade at
once: PostgreSQL serializes them with an advisory lock, SQLite with its write lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import control_plane
from control_plane.domain.errors import SchemaMismatch
from control_plane.store import (
    engines,
    hook_tables,  # noqa: F401 - tells the metadata of its tables
)
from control_plane.store.failures import translated

_ADVISORY_KEY = 7_023_885_640_142
_WAIT_FOR_OTHERS = "SET LOCAL lock_timeout = '60s'"
_NEVER_BLOCK_LONG = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    id: str
    title: str


def upgrade(url: str) -> str:
    """Bring the database to the newest schema and return the newest migration's id.

    Raises:
        SchemaMismatch: the database is newer than this program.
        StoreBusy: it is locked or does not answer.
    """
    settings = config()
    with _connection(url, read_only=False) as connection:
        _wait_for_turn(connection)
        known = [one.id for one in history()]
        if (at := _current(connection)) and at not in known:
            raise _newer(at)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return known[-1]


def current(url: str) -> str:
    """Return the id of the migration that the database is at; "" when it is empty."""
    file = engines.file_of(engines.address(url))
    if file is not None and not file.exists():
        return ""
    with _connection(url, read_only=True) as connection:
        return _current(connection)


def history() -> tuple[Migration, ...]:
    """Return every migration, the oldest first."""
    walked = ScriptDirectory.from_config(config()).walk_revisions()
    return tuple(Migration(one.revision, one.doc) for one in walked)[::-1]


def check(url: str) -> None:
    """Make sure that the database has the schema which this program needs.

    Raises:
        SchemaMismatch: it is empty, older or newer.
        StoreBusy: it is locked or does not answer.
    """
    newest = history()[-1].id
    at = current(url)
    if at and at not in [one.id for one in history()]:
        raise _newer(at)
    if at != newest:
        is_at = f"is at {at}" if at else "has no schema yet"
        text = f"The database {is_at}; this program needs {newest}. Run `tfsctl db upgrade`."
        raise SchemaMismatch(text, current=at, needed=newest)


def _newer(at: str) -> SchemaMismatch:
    text = f"The database is at {at}, which this program does not know: it is newer than this."
    return SchemaMismatch(text, hint="run a program of the database's version", current=at)


def config() -> Config:
    """Return Alembic's settings; the migrations lie beside the package."""
    home = Path(control_plane.__file__).parent.parent / "migrations"
    settings = Config()
    settings.set_main_option("script_location", str(home).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    return settings


@contextmanager
def _connection(url: str, *, read_only: bool) -> Iterator[Connection]:
    engine = engines.blocking(engines.address(url), read_only=read_only)
    try:
        with translated(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _wait_for_turn(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(_WAIT_FOR_OTHERS))
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})"))
    connection.execute(text(_NEVER_BLOCK_LONG))


def _current(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""
