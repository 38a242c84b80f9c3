"""What is done to a database beside serving it: its schema, its copies, what it forgets."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from control_plane.domain.errors import ControlPlaneError, SchemaMismatch
from control_plane.settings import Settings
from control_plane.store import files, migrated

if TYPE_CHECKING:
    from control_plane.store.database import Database
    from control_plane.store.schema import Migration

FORGET_S: Final = 3600.0
log = structlog.get_logger()


def make_home(settings: Settings) -> None:
    """Make the folder that the database lives in."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)


def upgrade(settings: Settings) -> str:
    """Bring the schema up to date; return the newest migration's id."""
    from control_plane.store import schema

    make_home(settings)
    return schema.upgrade(settings.url)


def prepare(settings: Settings) -> None:
    """Make sure that the schema is the one needed: bring it there, or check, as set.

    The upgrade runs in a child, so that a server does not carry Alembic along for ever.

    Raises:
        SchemaMismatch: it is not, and `migrate` is off or the upgrade failed.
    """
    if not settings.migrate or migrated.current(settings.url) == migrated.known()[-1]:
        migrated.check(settings.url)
        return
    command = [sys.executable, "-m", "control_plane", "db", "upgrade"]
    child = subprocess.run(  # noqa: S603 - this very program
        [*command, "--database-url", settings.url, "--data-dir", str(settings.data_dir)],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise SchemaMismatch(child.stderr.strip().removeprefix("error: "))


def current(settings: Settings) -> str:
    """Return which migration the database is at; "" when it is empty."""
    make_home(settings)
    return migrated.current(settings.url)


def history() -> "Sequence[Migration]":
    """Return every migration, the oldest first."""
    from control_plane.store import schema

    return schema.history()


async def forget(
    db: "Database",
    clock: Callable[[], datetime],
    journal_days: int | None,
    every_s: float = FORGET_S,
    audit_days: int | None = None,
) -> None:
    """Delete what is too old, every now and then, until cancelled; see `services.retention`."""
    from control_plane.services import retention

    while True:
        try:
            if rows := await retention.forget(db, clock(), journal_days, audit_days):
                log.info("deleted what was too old", rows=rows)
        except ControlPlaneError as error:
            log.warning("could not delete what is too old", error=error.message)
        await asyncio.sleep(every_s)


def backup(settings: Settings, file: Path) -> None:
    """Copy a SQLite database while it is in use."""
    files.backup(settings.url, file)
