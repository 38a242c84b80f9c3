"""What is deleted when it is too old, and what stays."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control_plane import upkeep
from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Moment
from control_plane.domain.hook_runs import Run, RunState
from control_plane.domain.rollout import Phase
from control_plane.services import history, retention
from control_plane.store import hooks, idempotency, journal, plans, rollouts
from control_plane.store.database import Database
from control_plane.store.idempotency import Stored
from control_plane.store.plans import KeptPlan
from tests.store.builders import a_rollout, an_event

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=100)
DAYS = 90


def told(kind: EventKind, at: datetime, rollout: str = "") -> Event:
    return replace(an_event(), kind=kind, at=at, rollout=rollout)


def a_run(id_: str, ended_at: datetime, rollout: str = "") -> Run:
    return Run(
        id=id_,
        hook="warm",
        fleet="default",
        moment=Moment.AFTER_LOAD,
        rollout=rollout,
        model="ranker",
        version=1,
        server="",
        order=0,
        body={},
        created_at=ended_at,
        state=RunState.SUCCEEDED,
        ended_at=ended_at,
    )


async def seqs(db: Database) -> list[int]:
    async with db.read() as s:
        return [one.seq for one in await journal.events(s, 0, 10_000)]


@pytest.fixture
async def with_rollouts(db: Database) -> Database:
    """A database with a rollout that is live and one that is over."""
    async with db.begin() as s:
        over = a_rollout("over", ("other",))
        await rollouts.add(s, over)
        await rollouts.add(s, a_rollout("live"))
        await rollouts.save(s, over, replace(over, phase=Phase.SUCCEEDED, ended_at=LONG_AGO))
    return db


async def test_a_journal_that_nobody_limits_is_kept_for_ever(db: Database) -> None:
    async with db.begin() as s:
        await journal.append(s, told(EventKind.MODEL_CHANGED, LONG_AGO - timedelta(days=9_999)))
    await retention.forget(db, NOW, None)
    assert await seqs(db) == [1]


async def test_old_events_go_but_for_those_that_say_what_answered_where(
    with_rollouts: Database,
) -> None:
    db = with_rollouts
    kinds = (EventKind.SERVER_RELOADED, EventKind.LABEL_ANSWERED, EventKind.REVISION_CREATED)
    async with db.begin() as s:
        await journal.append(s, *(told(kind, LONG_AGO) for kind in kinds))
        await journal.append(s, told(EventKind.ROLLOUT_STARTED, LONG_AGO, "live"))
        await journal.append(s, told(EventKind.ROLLOUT_STARTED, LONG_AGO, "over"))
        await journal.append(s, told(EventKind.SERVER_RELOADED, NOW))
    await retention.forget(db, NOW, DAYS)
    assert await seqs(db) == [2, 3, 4, 6]
    await retention.forget(db, NOW, DAYS)
    assert await seqs(db) == [2, 3, 4, 6]


async def test_a_stream_that_saw_less_than_was_forgotten_begins_anew(db: Database) -> None:
    async with db.begin() as s:
        await journal.append(s, *(told(EventKind.LABEL_ANSWERED, LONG_AGO) for _ in range(2)))
        await journal.append(s, *(told(EventKind.SERVER_RELOADED, LONG_AGO) for _ in range(2)))
        await journal.append(s, told(EventKind.SERVER_RELOADED, NOW))
    assert not (await history.resume(db, "2")).reset
    await retention.forget(db, NOW, DAYS)
    assert (await history.resume(db, "2")).reset
    place = await history.resume(db, "4")
    assert (place.reset, place.first, place.last) == (False, 5, 5)


async def test_a_long_journal_goes_in_many_small_transactions(db: Database) -> None:
    async with db.begin() as s:
        many = [told(EventKind.SERVER_RELOADED, LONG_AGO)] * (2 * retention.BATCH + 1)
        await journal.append(s, *many, told(EventKind.SERVER_RELOADED, NOW))
    async with db.begin() as s:
        gone = await journal.forget(s, before=NOW, most=retention.BATCH, but=())
    assert gone == retention.BATCH
    assert (await seqs(db))[0] == retention.BATCH + 1
    await retention.forget(db, NOW, DAYS)
    assert await seqs(db) == [len(many) + 1]


async def test_events_out_of_order_wait_for_the_younger_ones_before_them(db: Database) -> None:
    async with db.begin() as s:
        for at in (LONG_AGO, NOW, LONG_AGO):
            await journal.append(s, told(EventKind.SERVER_RELOADED, at))
    await retention.forget(db, NOW, DAYS)
    assert await seqs(db) == [2, 3]


async def test_runs_and_plans_go_with_the_journal_but_not_those_of_live_rollouts(
    with_rollouts: Database,
) -> None:
    db = with_rollouts
    async with db.begin() as s:
        await hooks.add_runs(s, [a_run("1", LONG_AGO, "over"), a_run("2", LONG_AGO, "live")])
        await hooks.add_runs(s, [a_run("3", NOW, "over")])
        for rollout in ("over", "live"):
            await plans.keep(s, KeptPlan(rollout, LONG_AGO, {}))
    await retention.forget(db, NOW, None)
    assert await runs(db) == {"1", "2", "3"}
    await retention.forget(db, NOW, DAYS)
    assert await runs(db) == {"2", "3"}
    async with db.read() as s:
        assert await plans.plan_of(s, "over") is None
        assert await plans.plan_of(s, "live") is not None


async def runs(db: Database) -> set[str]:
    async with db.read() as s:
        return {one.id for one in await hooks.runs_by(s, "warm", 100)}


async def test_runs_for_events_go_after_a_month_whatever_is_set(db: Database) -> None:
    month = timedelta(days=retention.EVENT_RUNS_DAYS)
    async with db.begin() as s:
        old, young = NOW - month - timedelta(hours=1), NOW - month + timedelta(hours=1)
        await hooks.add_runs(s, [a_run("old", old), a_run("young", young)])
    await retention.forget(db, NOW, None)
    assert await runs(db) == {"young"}


async def test_answers_under_a_key_go_after_a_day(db: Database) -> None:
    async with db.begin() as s:
        for key, hours in (("old", 25), ("young", 23)):
            made = NOW - timedelta(hours=hours)
            await idempotency.remember(s, "ada", key, "h", Stored(200, key), made)
    assert await retention.forget(db, NOW, None) == 1
    async with db.begin() as s:
        assert await idempotency.forget(s, most=10) == 0
        assert await idempotency.recall(s, "ada", "young", "h") == Stored(200, "young")


async def test_it_is_done_again_and_again(db: Database) -> None:
    forgetting = asyncio.create_task(upkeep.forget(db, lambda: NOW, DAYS, every_s=0.01))
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                async with db.begin() as s:
                    await journal.append(s, told(EventKind.SERVER_RELOADED, LONG_AGO))
                while await seqs(db):
                    await asyncio.sleep(0.01)
    finally:
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
