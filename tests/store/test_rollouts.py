"""Rollouts and verified labels in the database."""

import asyncio
from dataclasses import replace

import pytest

from control_plane.domain.errors import (
    Invalid,
    LeaseLost,
    NotFound,
    PreconditionFailed,
    RolloutInFlight,
)
from control_plane.domain.rollout import Phase
from control_plane.store import leases, rollouts
from control_plane.store.database import Database, Page, cursor
from tests.store.builders import a_rollout, at


async def test_a_rollout_comes_back_as_it_was_stored(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout())
    async with db.read() as s:
        assert await rollouts.rollout(s, "r1") == a_rollout()
        assert await rollouts.live_of(s, "default", "ranker") == a_rollout()
        assert await rollouts.live_of(s, "other", "ranker") is None
        with pytest.raises(NotFound):
            await rollouts.rollout(s, "ghost")


async def test_a_deployment_has_one_live_rollout(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout("r1", ("a", "b")))
    async with db.begin() as s:
        await rollouts.add(s, a_rollout("r2", ("c",)))
    with pytest.raises(RolloutInFlight, match="r1") as caught:
        await _add(db, "r3", "b")
    assert caught.value.details["rollout"] == "r1"
    async with db.read() as s:
        assert [one.id for one in await rollouts.live(s, "default")] == ["r1", "r2"]


async def test_of_concurrent_rollouts_of_a_deployment_exactly_one_starts(db: Database) -> None:
    adding = (_add(db, f"r{i}", "ranker") for i in range(6))
    answers = await asyncio.gather(*adding, return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["NoneType"] + ["RolloutInFlight"] * 5
    async with db.read() as s:
        assert len(await rollouts.live(s, "default")) == 1


async def _add(db: Database, name: str, model: str) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout(name, (model,)))


async def test_a_rollout_that_ended_makes_room_for_the_next(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout("r1"))
        ended = replace(a_rollout("r1"), phase=Phase.ABORTED, ended_at=at(9), superseded_by="r2")
        saved = await rollouts.save(s, a_rollout("r1"), ended)
        await rollouts.add(s, a_rollout("r2"))
    async with db.read() as s:
        assert await rollouts.rollout(s, "r1") == saved == replace(ended, rv=2)
        live = await rollouts.live_of(s, "default", "ranker")
    assert live is not None
    assert live.id == "r2"


async def test_a_save_with_an_old_rv_changes_nothing(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout())
        await rollouts.save(s, a_rollout(), replace(a_rollout(), phase=Phase.PAUSED))
        with pytest.raises(PreconditionFailed):
            await rollouts.save(s, a_rollout(), replace(a_rollout(), phase=Phase.FAILED))
        assert (await rollouts.rollout(s, "r1")).phase is Phase.PAUSED
        assert len(await rollouts.live(s, "default")) == 1


async def test_a_save_with_a_stale_epoch_changes_nothing(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout())
        for holder in ("one", "one"):
            await leases.acquire(s, "default", holder, 60)
        with pytest.raises(LeaseLost):
            await rollouts.save(s, a_rollout(), replace(a_rollout(), sentence="x"), epoch=1)
        assert await rollouts.rollout(s, "r1") == a_rollout()
        saved = await rollouts.save(s, a_rollout(), replace(a_rollout(), sentence="y"), epoch=2)
    assert (saved.sentence, saved.rv) == ("y", 2)


async def test_rollouts_are_listed_newest_first_and_filtered(db: Database) -> None:
    async with db.begin() as s:
        await rollouts.add(s, a_rollout("r1", ("a", "b"), Phase.SUCCEEDED, created=1))
        await rollouts.add(s, a_rollout("r2", ("b",), Phase.FAILED, created=2))
        await rollouts.add(s, a_rollout("r3", ("c",), created=2))
    wanted: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["r3", "r2", "r1"]),
        ({"model": "b"}, ["r2", "r1"]),
        ({"phase": "failed"}, ["r2"]),
        ({"fleet": "default", "model": "a", "phase": "succeeded"}, ["r1"]),
        ({"fleet": "ghost"}, []),
    ]
    async with db.read() as s:
        for filters, expected in wanted:
            found = await rollouts.rollouts(s, Page(), **filters)
            assert [one.id for one in found.items] == expected


async def test_rollouts_page_without_gaps_while_others_start(db: Database) -> None:
    async with db.begin() as s:
        for i in range(7):
            await rollouts.add(s, a_rollout(f"r{i}", (f"m{i}",), created=i // 3))
    seen: list[str] = []
    after = ""
    while True:
        async with db.read() as s:
            got = await rollouts.rollouts(s, Page(2, after))
        seen += [one.id for one in got.items]
        await _add(db, f"n{len(seen)}", f"n{len(seen)}")
        if not (after := got.next):
            break
    assert [one for one in seen if one.startswith("r")] == [f"r{i}" for i in range(6, -1, -1)]
    assert len(seen) == len(set(seen))


async def test_a_page_token_with_no_time_is_invalid(db: Database) -> None:
    async with db.read() as s:
        with pytest.raises(Invalid, match="page_token"):
            await rollouts.rollouts(s, Page(5, cursor("noon", "r1")))


async def test_verified_versions_come_newest_first_once_per_revision(db: Database) -> None:
    async with db.begin() as s:
        for version, revision, second in ((1, 1, 1), (2, 2, 2), (2, 2, 9), (1, 3, 3)):
            await rollouts.verify_label(
                s, "default", "ranker", "stable", version, revision, at(second)
            )
        await rollouts.verify_label(s, "default", "ranker", "canary", 7, 3, at(4))
        found = await rollouts.verified(s, "default", "ranker", "stable")
    assert [(one.version, one.revision, one.at) for one in found] == [
        (1, 3, at(3)),
        (2, 2, at(2)),
        (1, 1, at(1)),
    ]


async def test_a_version_rolled_back_from_is_marked_until_verified_anew(db: Database) -> None:
    async with db.begin() as s:
        for version, revision in ((1, 1), (2, 2)):
            await rollouts.verify_label(
                s, "default", "ranker", "stable", version, revision, at(revision)
            )
        await rollouts.mark_rolled_back_from(s, "default", "ranker", "stable", 2, at(5))
        await rollouts.verify_label(s, "default", "ranker", "stable", 2, 6, at(6))
        await rollouts.mark_rolled_back_from(s, "default", "ranker", "canary", 1, at(7))
        found = await rollouts.verified(s, "default", "ranker", "stable")
    assert [(one.version, one.rolled_back_at) for one in found] == [
        (2, None),
        (2, at(5)),
        (1, None),
    ]
