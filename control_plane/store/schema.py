"""The schema: its migrations, and bringing a database to the newest.

Alembic is imported here alone, which costs a process 11 MB: a server leaves it to a child. These
functions block; call them from a thread inside an event loop. Two processes may upgrade at
once: PostgreSQL serializes them with an advisory lock, SQLite with its write lock.
"""

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from control_plane.store import (  # noqa: F401 - tells the metadata of their tables
    audit_tables,
    hold_tables,
    hook_tables,
    plan_tables,
    request_set_tables,
    session_tables,
    source_tables,
    token_tables,
)
from control_plane.store.migrated import FOLDER, at, check, connection_to, current, newer

__all__ = ["Migration", "check", "config", "current", "history", "upgrade"]

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
    with connection_to(url, read_only=False) as connection:
        _wait_for_turn(connection)
        known = [one.id for one in history()]
        if (is_at := at(connection)) and is_at not in known:
            raise newer(is_at)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return known[-1]


def history() -> tuple[Migration, ...]:
    """Return every migration, the oldest first."""
    walked = ScriptDirectory.from_config(config()).walk_revisions()
    return tuple(Migration(one.revision, one.doc) for one in walked)[::-1]


def config() -> Config:
    """Return Alembic's settings; the migrations lie beside the package."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    return settings


def _wait_for_turn(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(_WAIT_FOR_OTHERS))
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})"))
    connection.execute(text(_NEVER_BLOCK_LONG))
