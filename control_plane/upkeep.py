"""What is done to a database beside serving it: its schema and its copies."""

from collections.abc import Sequence
from pathlib import Path

from control_plane.settings import Settings
from control_plane.store import files, schema
from control_plane.store.schema import Migration


def make_home(settings: Settings) -> None:
    """Make the folder that the database lives in."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)


def upgrade(settings: Settings) -> str:
    """Bring the schema up to date; return the newest migration's id."""
    make_home(settings)
    return schema.upgrade(settings.url)


def prepare(settings: Settings) -> None:
    """Make sure that the schema is the one needed: bring it there, or check, as set.

    Raises:
        SchemaMismatch: it is not, and `migrate` is off.
    """
    if settings.migrate:
        upgrade(settings)
    else:
        schema.check(settings.url)


def current(settings: Settings) -> str:
    """Return which migration the database is at; "" when it is empty."""
    make_home(settings)
    return schema.current(settings.url)


def history() -> Sequence[Migration]:
    """Return every migration, the oldest first."""
    return schema.history()


def backup(settings: Settings, file: Path) -> None:
    """Copy a SQLite database while it is in use."""
    files.backup(settings.url, file)
