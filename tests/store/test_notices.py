"""Notices between processes on one PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.store import journal, leases, notices
from control_plane.store.database import Database
from control_plane.store.notices import Kind, Notice
from tests.databases import Postgres, fresh_database, sqlite_url
from tests.store.builders import an_event

MISSED = Notice(Kind.MISSED)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with fresh_database(postgres) as found:
        yield found


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url)
    yield opened
    await opened.close()


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Database, "asyncio.Queue[Notice]"]]:
    """Another process that listens; what it heard."""
    other, heard = Database.open(url), asyncio.Queue[Notice]()
    following = asyncio.create_task(notices.follow(other, heard.put_nowait))
    assert await _next(heard) == MISSED
    try:
        yield other, heard
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await other.close()


async def _next(heard: "asyncio.Queue[Notice]") -> Notice:
    async with asyncio.timeout(20):
        return await heard.get()


async def test_others_hear_which_fleets_the_journal_tells_of(url: str, db: Database) -> None:
    async with listening(url) as (_, heard), db.begin() as s:
        await journal.append(s, an_event(fleet="eu"), an_event(fleet="us"), an_event(fleet=""))
        await s.commit()
        assert await _next(heard) == Notice(Kind.JOURNAL, frozenset({"eu", "us"}))


async def test_nobody_hears_of_what_was_not_committed_or_what_it_wrote_itself(
    url: str, db: Database
) -> None:
    async with listening(url) as (other, heard):
        async with db.begin() as s:
            await journal.append(s, an_event(fleet="undone"))
            await s.rollback()
        async with other.begin() as s:
            await journal.append(s, an_event(fleet="own"))
        async with db.begin() as s:
            await journal.append(s, an_event(fleet="told"))
        assert await _next(heard) == Notice(Kind.JOURNAL, frozenset({"told"}))


async def test_a_lease_that_is_given_up_is_told(url: str, db: Database) -> None:
    async with listening(url) as (_, heard):
        async with db.begin() as s:
            lease = await leases.acquire(s, "default", "one", 60)
            assert lease is not None
            await leases.release(s, lease)
        assert await _next(heard) == Notice(Kind.LEASES)


async def test_more_fleets_than_fit_and_words_of_newer_programs_are_something_missed(
    url: str, db: Database
) -> None:
    async with listening(url) as (_, heard):
        async with db.begin() as s:
            await journal.append(s, *(an_event(fleet=f"{n}{'x' * 100}") for n in range(99)))
        assert await _next(heard) == MISSED
        async with db.begin() as s:
            await s.execute(text("SELECT pg_notify('tfsctl', 'someone invented things')"))
        assert await _next(heard) == MISSED


async def test_a_connection_that_broke_is_made_again_and_something_was_missed(
    url: str, db: Database
) -> None:
    async with listening(url) as (_, heard):
        async with db.begin() as s:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            assert (await s.execute(text(ended))).all()
        assert await _next(heard) == MISSED


async def test_on_sqlite_nobody_listens(tmp_path: Path) -> None:
    db = Database.open(sqlite_url(tmp_path))
    async with asyncio.timeout(20):
        await notices.follow(db, lambda _: None)
    await db.close()
