"""Revisions: one table, read as the head, as a past state and as what changed."""

import asyncio
from datetime import timedelta, timezone

import pytest

from control_plane.domain.errors import NotFound, RevisionConflict
from control_plane.domain.revision import All, Deployment, Kind, Latest, Policy, Specific
from control_plane.store import fleets, revisions
from control_plane.store.database import Database, Page
from tests.store.builders import NOON, a_deployment, append, at


async def test_the_first_revision_is_number_one_and_the_head(db: Database) -> None:
    async with db.begin() as s:
        made = await append(s, {"ranker": a_deployment()}, {"ranker": 0}, at(5))
    async with db.read() as s:
        head = await revisions.head(s, "default")
        assert head == {"ranker": revisions.Head(a_deployment(), 1, at(5), "ada")}
        assert await revisions.head_of(s, "default", "ranker") == head["ranker"]
        assert await revisions.revision(s, "default", 1) == made
        assert (await fleets.fleet(s, "default")).head == 1
    assert (made.number, made.parent, made.kind) == (1, 0, Kind.DEPLOY)


@pytest.mark.parametrize(
    "policy", [Specific(), Latest(3), Latest(auto_load=True), All(), All(auto_load=True)]
)
async def test_a_deployment_comes_back_as_it_was_stored(db: Database, policy: Policy) -> None:
    stored = Deployment("ranker", frozenset({0, 2**63 - 1}), {"稳定": 0}, policy, 3)
    async with db.begin() as s:
        await append(s, {"ranker": stored}, {})
    async with db.read() as s:
        assert (await revisions.head(s, "default"))["ranker"].deployment == stored


async def test_a_lost_race_on_the_same_model_names_both_revisions(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"ranker": a_deployment()}, {"ranker": 0})
        await append(s, {"ranker": a_deployment(stable=2)}, {"ranker": 1}, actor="bob")
    async with db.begin() as s:
        with pytest.raises(RevisionConflict, match=r"revision 2 \(deploy by bob\)") as caught:
            await append(s, {"ranker": a_deployment(stable=3)}, {"ranker": 1})
    assert (caught.value.details["expected"], caught.value.details["actual"]) == (1, 2)
    async with db.read() as s:
        assert (await fleets.fleet(s, "default")).head == 2


async def test_a_race_on_other_models_is_rebased_silently(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"ranker": a_deployment()}, {"ranker": 0})
        await append(s, {"other": a_deployment("other")}, {"other": 0})
        made = await append(s, {"ranker": a_deployment(stable=2)}, {"ranker": 1})
        assert (made.number, made.parent) == (3, 2)
        assert {
            name: one.revision for name, one in (await revisions.head(s, "default")).items()
        } == {
            "ranker": 3,
            "other": 2,
        }


async def test_of_concurrent_writers_of_one_model_exactly_one_wins(db: Database) -> None:
    async def change(stable: int) -> int:
        async with db.begin() as s:
            await asyncio.sleep(0)
            made = await append(s, {"ranker": a_deployment(stable=stable)}, {"ranker": 0})
            return made.number

    answers = await asyncio.gather(*(change(i) for i in range(6)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["RevisionConflict"] * 5 + ["int"]


async def test_a_group_is_refused_as_a_whole(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"a": a_deployment("a")}, {})
        with pytest.raises(RevisionConflict):
            await append(s, {"a": a_deployment("a"), "b": a_deployment("b")}, {"a": 0, "b": 0})
        assert await revisions.head_of(s, "default", "b") is None


async def test_a_past_state_is_what_was_newest_then(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"a": a_deployment("a", 1), "b": a_deployment("b", 1)}, {}, at(0))
        await append(s, {"a": a_deployment("a", 2)}, {"a": 1}, at(10))
        await append(s, {"b": None}, {"b": 1}, at(20))
        await append(s, {"b": a_deployment("b", 3)}, {"b": 3}, at(30))
    async with db.read() as s:
        states = [
            {
                name: (one.deployment.labels["stable"], one.revision)
                for name, one in (await revisions.state_at(s, "default", number)).items()
            }
            for number in range(6)
        ]
    assert states == [
        {},
        {"a": (1, 1), "b": (1, 1)},
        {"a": (2, 2), "b": (1, 1)},
        {"a": (2, 2)},
        {"a": (2, 2), "b": (3, 4)},
        {"a": (2, 2), "b": (3, 4)},
    ]


async def test_a_tombstone_counts_as_a_change_but_not_as_a_deployment(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"ranker": a_deployment()}, {})
        await append(s, {"ranker": None}, {"ranker": 1})
        assert await revisions.head(s, "default") == {}
        assert await revisions.head_of(s, "default", "ranker") is None
        assert await revisions.last_changed(s, "default", "ranker") == 2
        assert await revisions.last_changed(s, "default", "ghost") == 0
        assert (await revisions.revision(s, "default", 2)).changes == {"ranker": None}
        with pytest.raises(RevisionConflict):
            await append(s, {"ranker": a_deployment()}, {"ranker": 0})


async def test_the_revision_of_a_time_is_the_newest_up_to_it(db: Database) -> None:
    async with db.begin() as s:
        for second in (10, 20):
            await append(s, {f"m{second}": a_deployment(f"m{second}")}, {}, at(second))
        found = [await revisions.number_at(s, "default", at(n)) for n in (9.999, 10, 19, 20, 99)]
    assert found == [0, 1, 1, 2, 2]


async def test_times_are_compared_as_moments_whatever_their_zone(db: Database) -> None:
    tokyo = timezone(timedelta(hours=9))
    async with db.begin() as s:
        await append(s, {"a": a_deployment("a")}, {}, NOON.astimezone(tokyo))
        assert await revisions.number_at(s, "default", NOON) == 1
        assert (await revisions.revision(s, "default", 1)).created_at == NOON


async def test_revisions_page_downwards_while_new_ones_come(db: Database) -> None:
    async with db.begin() as s:
        for i in range(7):
            await append(s, {f"m{i}": a_deployment(f"m{i}")}, {})
    seen: list[int] = []
    after = ""
    while True:
        async with db.read() as s:
            got = await revisions.revisions(s, "default", Page(3, after))
        seen += [one.number for one in got.items]
        async with db.begin() as s:
            name = f"n{len(seen)}"
            await append(s, {name: a_deployment(name)}, {})
        if not (after := got.next):
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_revisions_of_one_model_leave_out_the_others(db: Database) -> None:
    async with db.begin() as s:
        await append(s, {"a": a_deployment("a"), "b": a_deployment("b")}, {})
        await append(s, {"b": a_deployment("b", 2)}, {"b": 1})
        await append(s, {"a": None}, {"a": 1})
        found = await revisions.revisions(s, "default", Page(), "a")
    assert [one.number for one in found.items] == [3, 1]
    assert set(found.items[1].changes) == {"a", "b"}


async def test_an_unknown_fleet_or_revision_is_not_found(db: Database) -> None:
    async with db.begin() as s:
        with pytest.raises(NotFound):
            await revisions.revision(s, "default", 1)
        await fleets.delete_fleet(s, "default")
        with pytest.raises(NotFound):
            await append(s, {"a": a_deployment("a")}, {})
