"""SQLite's file: one process at a time, copied in use, whole after a kill."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from control_plane.domain.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    SchemaMismatch,
)
from control_plane.store import journal
from control_plane.store.database import Database
from control_plane.store.files import backup, hold
from tests.databases import sqlite_url
from tests.store.builders import an_event

KILLS = 10
POSTGRES = "postgresql://nobody@localhost:1/none"


@contextmanager
def _writer(url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.store.writer", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        try:
            yield it
        finally:
            it.kill()


def _acknowledged_before_kill(url: str, count: int) -> int:
    """The last number that the writer said before it was killed, right after the `count`th."""
    with _writer(url) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
        return int([*lines, *process.stdout.readlines()][-1])


async def _numbers(url: str) -> list[int]:
    db = Database.open(url)
    async with db.read() as s:
        found = await journal.events(s, 0, 100_000)
    await db.close()
    return [one.seq for one in found]


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    chance = random.Random(11)
    for _ in range(KILLS):
        acknowledged = _acknowledged_before_kill(url, chance.randint(1, 20))
        numbers = await _numbers(url)
        assert numbers == list(range(1, len(numbers) + 1))
        assert acknowledged <= numbers[-1] <= acknowledged + 2
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_second_process_on_the_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with _writer(url) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(Conflict, match=rf"pid {process.pid}.*SQLite is for one process"):
            _hold_and_release(url)
        process.kill()
        process.wait()
        _hold_and_release(url)


def _hold_and_release(url: str) -> None:
    with hold(url):
        pass


def test_a_file_is_held_again_after_it_was_released(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    for _ in range(2):
        _hold_and_release(url)
    with hold(url), pytest.raises(Conflict):
        _hold_and_release(url)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="nowhere"):
        _hold_and_release(f"sqlite:///{tmp_path}/nowhere/x.db")


def test_postgresql_is_never_held(tmp_path: Path) -> None:
    with hold(POSTGRES), hold(POSTGRES):
        pass


async def test_a_backup_of_a_database_in_use_is_whole(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    db = Database.open(url)
    target = tmp_path / "copy.db"
    with hold(url):
        async with db.begin() as s:
            await journal.append(s, an_event())
        async with db.begin() as s:
            await journal.append(s, an_event())
            backup(url, target)
    await db.close()
    assert await _numbers(url) == [1, 2]
    assert await _numbers(f"sqlite:///{target}") == [1]
    assert sorted(one.name for one in tmp_path.glob("copy*")) == ["copy.db"]


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    backup(url, tmp_path / "copy.db")
    with pytest.raises(AlreadyExists, match="copy"):
        backup(url, tmp_path / "copy.db")


def test_a_backup_needs_a_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="SQLite"):
        backup(POSTGRES, tmp_path / "copy.db")
    with pytest.raises(NotFound):
        backup(sqlite_url(tmp_path, migrated=False), tmp_path / "copy.db")
