"""SQLite's file: held by one process, and copied while in use."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from control_plane.domain.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    SchemaMismatch,
    StoreBusy,
)
from control_plane.store import engines


@contextmanager
def hold(url: str) -> Iterator[None]:
    """Keep other processes from serving the same SQLite file; does nothing on PostgreSQL.

    The operating system lets go of it when the process ends, however it ends.

    Raises:
        Conflict: another process holds it.
        SchemaMismatch: its directory is missing or not writable.
    """
    file = engines.file_of(engines.address(url))
    if file is None:
        yield
        return
    try:
        descriptor = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SchemaMismatch(f"The database {file} cannot be opened: {error.strerror}.") from error
    try:
        _lock(descriptor, file)
        yield
    finally:
        os.close(descriptor)


def backup(url: str, target: Path) -> None:
    """Copy a SQLite database, in use or not, to a new file.

    Raises:
        AlreadyExists: the target exists.
        Invalid: this is PostgreSQL, which has its own tools.
        NotFound: there is no database.
        StoreBusy: the file could not be read or written.
    """
    file = engines.file_of(engines.address(url))
    if file is None:
        raise Invalid("Only SQLite is backed up by this program.", hint="use pg_dump")
    if not file.exists():
        raise NotFound(f"There is no database {file}.")
    if target.exists():
        raise AlreadyExists(f"{target} exists already.")
    part = target.with_name(target.name + ".part")
    try:
        _copy(file, part)
        part.rename(target)
    except (sqlite3.Error, OSError) as error:
        raise StoreBusy(f"The backup to {target} failed: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _lock(descriptor: int, file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        text = f"Another process (pid {holder}) serves {file}; SQLite is for one process."
        hint = "stop that process, or use PostgreSQL for several"
        raise Conflict(text, hint=hint) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def _copy(file: Path, part: Path) -> None:
    with (
        closing(sqlite3.connect(file, timeout=engines.BUSY_S)) as source,
        closing(sqlite3.connect(part)) as copy,
    ):
        source.backup(copy)
    with part.open("rb") as written:
        os.fsync(written.fileno())
