"""Idempotency keys in the database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.errors import IdempotencyKeyReused, StoreBusy
from control_plane.store import idempotency
from control_plane.store.database import Database
from control_plane.store.idempotency import Stored

ANSWER = Stored(202, {"id": "r1", "items": [1, None]}, {"ETag": '"1"'})


async def test_a_repeated_request_gets_its_first_answer(db: Database) -> None:
    async with db.begin() as s:
        assert await idempotency.recall(s, "ada", "k", "h") is None
        await idempotency.remember(s, "ada", "k", "h", ANSWER, datetime.now(UTC))
    async with db.begin() as s:
        assert await idempotency.recall(s, "ada", "k", "h") == ANSWER
        assert await idempotency.recall(s, "bob", "k", "h") is None


async def test_an_answer_without_a_body_is_an_answer(db: Database) -> None:
    async with db.begin() as s:
        await idempotency.remember(s, "ada", "k", "h", Stored(204, None), datetime.now(UTC))
        assert await idempotency.recall(s, "ada", "k", "h") == Stored(204, None)


async def test_a_key_with_another_body_is_refused(db: Database) -> None:
    async with db.begin() as s:
        await idempotency.remember(s, "ada", "k", "h", ANSWER, datetime.now(UTC))
        with pytest.raises(IdempotencyKeyReused):
            await idempotency.recall(s, "ada", "k", "other")


async def test_a_key_is_forgotten_after_a_day(db: Database) -> None:
    now = datetime.now(UTC)
    async with db.begin() as s:
        for key, hours in (("old", 24.1), ("young", 23.9)):
            made = now - timedelta(hours=hours)
            await idempotency.remember(s, "ada", key, "h", ANSWER, made)
        assert await idempotency.recall(s, "ada", "old", "h") is None
        assert await idempotency.recall(s, "ada", "young", "h") == ANSWER
        await idempotency.remember(s, "ada", "old", "new", ANSWER, now)
        assert await idempotency.recall(s, "ada", "old", "new") == ANSWER


async def test_of_the_same_request_at_the_same_time_one_takes_effect(db: Database) -> None:
    async def carry_out() -> str:
        async with db.begin() as s:
            if await idempotency.recall(s, "ada", "k", "h"):
                return "replayed"
            await asyncio.sleep(0)
            await idempotency.remember(s, "ada", "k", "h", ANSWER, datetime.now(UTC))
            return "done"

    answers = await asyncio.gather(*(carry_out() for _ in range(5)), return_exceptions=True)
    assert answers.count("done") == 1
    assert all(isinstance(one, StoreBusy) or one in ("done", "replayed") for one in answers)
    assert await carry_out() == "replayed"
