"""Request sets in the database."""

from dataclasses import replace

import pytest

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.domain.request_set import MOST_BYTES, Form, RequestSet
from control_plane.store import catalog, request_sets
from control_plane.store.database import Database, Page
from tests.store.builders import NOON, a_model, at

GOLDEN = RequestSet("ranker", "golden", Form.JSON, 2, 9, "ab" * 32, NOON, "ada")
SMOKE = replace(GOLDEN, name="smoke", form=Form.TFRECORD, created_at=at(5))


@pytest.fixture
async def known(db: Database) -> Database:
    async with db.begin() as s:
        for name in ("ranker", "embedder"):
            await catalog.add_model(s, a_model(name))
        await request_sets.add(s, SMOKE, b"\0smoke")
        await request_sets.add(s, GOLDEN, b"golden")
    return db


async def test_a_set_comes_back_as_it_was_stored(known: Database) -> None:
    async with known.read() as s:
        assert await request_sets.request_set(s, "ranker", "golden") == GOLDEN
        assert await request_sets.content(s, "ranker", "smoke") == b"\0smoke"
        assert (await request_sets.request_sets(s, "embedder")).items == ()
        assert await request_sets.newest(s, "ranker") == SMOKE
        assert await request_sets.newest(s, "embedder") is None


async def test_the_largest_set_is_taken(known: Database) -> None:
    content = bytes(range(256)) * (MOST_BYTES // 256)
    async with known.begin() as s:
        await request_sets.add(s, replace(GOLDEN, model="embedder"), content)
    async with known.read() as s:
        assert await request_sets.content(s, "embedder", "golden") == content


async def test_sets_are_listed_by_name_page_by_page(known: Database) -> None:
    async with known.read() as s:
        first = await request_sets.request_sets(s, "ranker", Page(1))
        rest = await request_sets.request_sets(s, "ranker", Page(1, first.next))
    assert (first.items, rest.items, rest.next) == ((GOLDEN,), (SMOKE,), "")


async def test_a_name_is_taken_once_by_each_model(known: Database) -> None:
    async with known.begin() as s:
        await request_sets.add(s, replace(GOLDEN, model="embedder"), b"x")
        with pytest.raises(AlreadyExists, match="golden of ranker"):
            await request_sets.add(s, GOLDEN, b"other")
        assert await request_sets.content(s, "ranker", "golden") == b"golden"


async def test_what_was_removed_is_not_found(known: Database) -> None:
    async with known.begin() as s:
        await request_sets.remove(s, "ranker", "golden")
        for gone in (request_sets.request_set, request_sets.content, request_sets.remove):
            with pytest.raises(NotFound, match="golden of ranker"):
                await gone(s, "ranker", "golden")


async def test_sets_go_with_their_model(known: Database) -> None:
    async with known.begin() as s:
        await catalog.delete_model(s, "ranker")
        assert (await request_sets.request_sets(s, "ranker")).items == ()
