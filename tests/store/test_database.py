"""Transactions: all or nothing, one writer at a time, and domain errors only."""

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.domain.errors import Invalid, NotFound, SchemaMismatch, StoreBusy, StoreFull
from control_plane.domain.events import Event
from control_plane.store import catalog, engines, journal, rollouts
from control_plane.store.database import Database, installation
from tests.databases import Postgres, fresh_database, sqlite_url
from tests.store.builders import a_model, a_rollout, an_event

READERS = 20


async def _names(db: Database) -> list[str]:
    async with db.read() as s:
        return [one.name for one in (await catalog.models(s)).items]


async def test_an_error_undoes_the_whole_transaction(db: Database) -> None:
    with pytest.raises(LookupError):
        await _add_then(db, LookupError())
    assert await _names(db) == []


async def _add_then(db: Database, error: Exception) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        raise error


async def test_a_cancelled_transaction_is_undone_and_the_next_one_runs(db: Database) -> None:
    started = asyncio.Event()

    async def write_slowly() -> None:
        async with db.begin() as s:
            await catalog.add_model(s, a_model())
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_slowly())
    async with asyncio.timeout(20):
        await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.begin() as s:
        await catalog.add_model(s, a_model("other"))
    assert await _names(db) == ["other"]


async def test_writers_cancelled_anywhere_leave_a_working_database(db: Database) -> None:
    async def write(i: int) -> None:
        async with db.begin() as s:
            await catalog.add_model(s, a_model(f"m{i}"))
            await journal.append(s, an_event(f"m{i}"))

    tasks = [asyncio.create_task(write(i)) for i in range(40)]
    for i, task in enumerate(tasks):
        await asyncio.sleep(0.001)
        if i % 2:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with db.begin() as s:
        events = await journal.events(s, 0, 100)
    names = await _names(db)
    assert {f"m{i}" for i in range(0, 40, 2)} <= set(names)
    assert sorted(one.model for one in events) == names
    assert [one.seq for one in events] == list(range(1, len(names) + 1))


async def test_a_read_sees_one_snapshot(db: Database) -> None:
    async with db.read() as s:
        assert await journal.last_seq(s) == 0
        writing = asyncio.create_task(_append(db))
        await asyncio.wait({writing}, timeout=0.2)
        assert await journal.last_seq(s) == 0
    await writing
    async with db.read() as s:
        assert await journal.last_seq(s) == 1


async def _append(db: Database, event: Event | None = None) -> tuple[Event, ...]:
    async with db.begin() as s:
        return await journal.append(s, event or an_event())


async def test_a_read_cannot_write(db: Database) -> None:
    with pytest.raises(StoreBusy):
        await _write_while_reading(db)
    assert await _names(db) == []


async def _write_while_reading(db: Database) -> None:
    async with db.read() as s:
        await catalog.add_model(s, a_model())


async def test_twenty_readers_and_a_writer_get_along(db: Database) -> None:
    async def read() -> None:
        last = 0
        while last < 40:
            async with db.read() as s:
                now = await journal.last_seq(s)
                assert len(await journal.events(s, 0, 100)) == now >= last
            last = now

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(READERS):
            tasks.create_task(read())
        for _ in range(40):
            await _append(db)


async def test_the_installation_keeps_its_id(db: Database) -> None:
    async with db.read() as s:
        first = await installation(s)
        assert await installation(s) == first
    assert len(bytes.fromhex(first)) == 4


async def test_the_databases_clock_is_utc_and_near_ours(db: Database) -> None:
    async with db.read() as s:
        now = await db.now(s)
    assert now.tzinfo is UTC
    assert abs((now - datetime.now(UTC)).total_seconds()) < 5


async def test_a_time_without_a_zone_is_refused(db: Database) -> None:
    with pytest.raises(Invalid, match="no time zone"):
        await _add_event_at(db, datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


async def _add_event_at(db: Database, at: datetime) -> None:
    async with db.begin() as s:
        await journal.append(s, replace(an_event(), at=at))


async def test_what_refers_to_something_unknown_is_not_found(db: Database) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        await _start_rollout_in(db, "ghost")


async def _start_rollout_in(db: Database, fleet: str) -> None:
    async with db.begin() as s:
        await rollouts.add(s, replace(a_rollout(), fleet=fleet))


async def test_a_missing_table_is_a_schema_mismatch(tmp_path: Path, postgres: Postgres) -> None:
    with fresh_database(postgres, migrated=False) as empty:
        for url in (empty, sqlite_url(tmp_path, migrated=False)):
            opened = Database.open(url)
            with pytest.raises(SchemaMismatch):
                await _names(opened)
            await opened.close()


async def test_a_database_that_is_away_is_busy_or_missing(
    tmp_path: Path, postgres: Postgres
) -> None:
    away: list[tuple[str, type[Exception]]] = [
        (f"postgresql://postgres@/x?host={tmp_path}", StoreBusy),
        (postgres.url("ghost"), StoreBusy),
        (f"sqlite:///{tmp_path}/no/such/directory.db", SchemaMismatch),
    ]
    for url, expected in away:
        opened = Database.open(url)
        with pytest.raises(expected):
            await _names(opened)
        await opened.close()


@pytest.mark.parametrize("url", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense"])
def test_only_sqlite_files_and_postgresql_are_databases(url: str) -> None:
    with pytest.raises(Invalid, match="database"):
        Database.open(url)


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 52, 0), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_the_write_ahead_log_waits_for_the_sqlite_that_does_not_corrupt_it(
    version: tuple[int, ...], mode: str
) -> None:
    assert engines.journal_mode(version) == mode


async def test_sqlite_answers_a_commit_when_it_is_on_the_disk(tmp_path: Path) -> None:
    opened = Database.open(sqlite_url(tmp_path))
    for transaction in (opened.begin, opened.read):
        async with transaction() as s:
            found = [
                await s.scalar(text(f"PRAGMA {name}")) for name in ("synchronous", "foreign_keys")
            ]
            assert found == [2, 1]
    await opened.close()


async def test_a_write_that_another_process_holds_back_is_busy(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    opened = Database.open(url, busy_s=0.2)
    with _locked(url), pytest.raises(StoreBusy, match="locked"):
        await _append(opened)
    await _append(opened)
    await opened.close()


async def test_a_write_behind_one_that_does_not_end_is_busy(tmp_path: Path) -> None:
    opened = Database.open(sqlite_url(tmp_path), busy_s=0.1)
    async with opened.begin():
        with pytest.raises(StoreBusy, match="in progress"):
            await _append(opened)
    await opened.close()


@contextmanager
def _locked(url: str) -> Iterator[None]:
    file = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def test_a_wal_that_another_sqlite_left_is_read_and_put_away(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    file = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE counters SET value = 41 WHERE name = 'journal'")
    opened = Database.open(url)
    async with opened.begin() as s:
        assert [one.seq for one in await journal.append(s, an_event())] == [42]
    await opened.close()
    with closing(sqlite3.connect(file)) as other:
        (mode,) = other.execute("PRAGMA journal_mode").fetchone()
    expected = {"TRUNCATE": "delete", "WAL": "wal"}
    assert mode == expected[engines.journal_mode(sqlite3.sqlite_version_info)]


async def test_a_database_without_room_is_full_and_works_again_with_it(
    tmp_path: Path, postgres: Postgres
) -> None:
    opened = Database.open(sqlite_url(tmp_path))
    await _run(opened, "PRAGMA max_page_count = 1")  # as it is now, and no more
    large = replace(an_event(), data={"words": "x" * 500_000})
    with pytest.raises(StoreFull, match="no room"):
        await _append(opened, large)
    async with opened.read() as s:
        assert await journal.last_seq(s) == 0
    await _run(opened, "PRAGMA max_page_count = 1000000")
    assert [one.seq for one in await _append(opened, large)] == [1]
    await opened.close()
    with fresh_database(postgres) as url:
        opened = Database.open(url)
        with pytest.raises(StoreFull, match="No space left"):
            await _run(opened, _NO_SPACE)
        await opened.close()


_NO_SPACE = "DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'No space left on device'; END $$"


async def _run(db: Database, statement: str) -> None:
    async with db.begin() as s:
        await s.execute(text(statement))


async def test_a_server_that_never_answers_is_busy_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        opened = Database.open(f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        with pytest.raises(StoreBusy, match="does not answer"):
            await _run(opened, "SELECT 1")
        await opened.close()
