"""Rolling back: where to, through what, and never to what failed."""

import pytest

from control_plane.domain.catalog import Version
from control_plane.domain.errors import (
    FieldInvalid,
    NotFound,
    NothingToRollBackTo,
    VersionUnknown,
)
from control_plane.domain.promotion import PromoteRequest, RollbackRequest
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, StepName
from control_plane.services.changes import Planned, Unchanged
from control_plane.services.promotion import promote_group, rollback
from control_plane.store import catalog
from tests.services.world import AWAY, FAILED, FLEET, REACHED, World, begun, serving


async def promoted_up_to(world: World, newest: int) -> None:
    await world.done(await world.deploy({1}, stable=1))
    for version in range(2, newest + 1):
        await world.done(await world.promote(version))


async def stable(world: World) -> int:
    return (await world.head()).labels["stable"]


async def test_rolling_back_twice_goes_from_3_to_2_to_1(world: World) -> None:
    await promoted_up_to(world, 3)
    await world.done(await world.rollback())
    assert await stable(world) == 2
    await world.done(await world.rollback())
    assert await stable(world) == 1
    with pytest.raises(NothingToRollBackTo):
        await world.rollback()


async def test_a_failed_promotion_is_never_a_target(world: World) -> None:
    await promoted_up_to(world, 2)
    await world.finish(await world.promote(3), {"a": REACHED, "b": FAILED})
    await world.done(await world.rollback())
    assert await stable(world) == 1


async def test_the_version_rolled_back_from_is_dropped(world: World) -> None:
    await promoted_up_to(world, 3)
    await world.done(await world.rollback())
    assert await world.head() == serving(2, stable=2)


async def test_a_version_promoted_again_is_a_target_again(world: World) -> None:
    await promoted_up_to(world, 2)
    await world.done(await world.rollback())
    await world.done(await world.promote(2))
    await world.done(await world.promote(3))
    await world.done(await world.rollback())
    assert await stable(world) == 2


async def test_a_rollback_flips_server_by_server(world: World) -> None:
    await promoted_up_to(world, 2)
    back = await world.rollback()
    assert back.rollout.kind is Kind.ROLLBACK
    assert [one.name for one in back.rollout.steps] == [StepName.PROMOTE, StepName.RETIRE]


async def test_a_rollback_goes_on_without_an_unreachable_server(world: World) -> None:
    await promoted_up_to(world, 2)
    rollout = await world.finish(await world.rollback(), {"a": REACHED, "b": AWAY})
    assert (rollout.phase, rollout.laggards) == (Phase.SUCCEEDED, ("b",))


async def test_a_rollback_supersedes_a_live_promotion(world: World) -> None:
    await promoted_up_to(world, 2)
    live = await world.promote(3)
    await world.step(live.rollout.id)
    back = await world.rollback()
    assert back.rollout.from_revision == live.rollout.from_revision
    ended = await world.rollout(live.rollout.id)
    assert (ended.phase, ended.superseded_by) == (Phase.ABORTED, back.rollout.id)
    await world.done(back)
    assert await world.head() == serving(1, 2, stable=2)


async def test_a_rollback_ends_what_a_live_deployment_had_not_verified(world: World) -> None:
    await promoted_up_to(world, 2)
    await world.deploy({1, 2, 4}, stable=2, canary=4)
    await world.done(await world.rollback())
    assert await world.head() == serving(1, stable=1)


async def test_a_rollback_of_one_member_ends_the_whole_group(world: World) -> None:
    await promoted_up_to(world, 1)
    await world.done(await world.deploy({1}, "other", stable=1))
    items = tuple((model, PromoteRequest(version=2)) for model in ("m", "other"))
    await promote_group(world.db, FLEET, items, world.call())
    back = await world.rollback()
    assert back.rollout.models == ("m", "other")
    await world.done(back)
    heads = await world.heads()
    assert {m: d.labels["stable"] for m, d in heads.items()} == {"m": 1, "other": 1}


async def test_pressing_it_again_answers_with_the_live_rollback(world: World) -> None:
    await promoted_up_to(world, 3)
    first, second = await world.rollback(), await world.rollback()
    assert second.rollout == first.rollout
    assert second.revision == first.revision


async def test_another_target_supersedes_a_live_rollback(world: World) -> None:
    await promoted_up_to(world, 3)
    first = await world.rollback()
    second = await world.rollback(to_version=1)
    assert (await world.rollout(first.rollout.id)).superseded_by == second.rollout.id
    await world.done(second)
    assert await stable(world) == 1


async def test_a_rollback_that_can_load_nowhere_leaves_the_label(world: World) -> None:
    await promoted_up_to(world, 3)
    failed = {"a": FAILED, "b": FAILED}
    rollout = await world.finish(await world.rollback(to_version=1), failed)
    assert rollout.phase is Phase.FAILED
    assert await stable(world) == 3


async def test_it_can_go_to_a_revision_or_a_time(world: World) -> None:
    first = await world.deploy({1}, stable=1)
    await world.done(first)
    await world.done(await world.promote(2))
    moment = world.now
    await world.done(await world.promote(3))
    to_time = RollbackRequest(to_time=moment)
    await world.done(begun(await rollback(world.db, FLEET, "m", to_time, world.call())))
    assert await stable(world) == 2
    to_revision = RollbackRequest(to_revision=first.revision.number)
    await world.done(begun(await rollback(world.db, FLEET, "m", to_revision, world.call())))
    assert await stable(world) == 1


async def test_a_canary_has_a_history_of_its_own(world: World) -> None:
    await world.done(await world.deploy({1, 2}, stable=1, canary=2))
    await world.done(await world.promote(3, label="canary"))
    await world.done(await world.rollback(label="canary"))
    assert (await world.head()).labels == {"stable": 1, "canary": 2}


async def test_targets_that_are_not_there_are_refused(world: World) -> None:
    await promoted_up_to(world, 2)
    with pytest.raises(VersionUnknown):
        await world.rollback(to_version=9)
    with pytest.raises(NotFound):
        await rollback(world.db, FLEET, "m", RollbackRequest(to_revision=9), world.call())
    early = RollbackRequest("canary", to_revision=1)
    with pytest.raises(FieldInvalid) as refused:
        await rollback(world.db, FLEET, "m", early, world.call())
    assert refused.value.field == "to_revision"
    both = RollbackRequest(to_version=1, to_revision=1)
    with pytest.raises(FieldInvalid):
        await rollback(world.db, FLEET, "m", both, world.call())


async def test_what_is_not_deployed_cannot_be_rolled_back(world: World) -> None:
    with pytest.raises(NotFound):
        await world.rollback(to_version=1)


async def test_rolling_back_to_where_the_label_is_changes_nothing(world: World) -> None:
    await promoted_up_to(world, 2)
    request = RollbackRequest(to_version=2)
    outcome = await rollback(world.db, FLEET, "m", request, world.call())
    assert outcome == Unchanged(serving(1, 2, stable=2))


async def test_a_fault_warns_and_does_not_stop_it(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    async with world.db.begin() as s:
        await catalog.add_version(s, Version("m", 5, world.now, "ada", fault="half is missing"))
    back = await world.rollback(to_version=5)
    assert any("half is missing" in one for one in back.warnings)


async def test_a_cold_rollback_says_so_beforehand(world: World) -> None:
    await promoted_up_to(world, 3)
    request = RollbackRequest(to_version=1)
    outcome = await rollback(world.db, FLEET, "m", request, world.call(dry_run=True))
    assert isinstance(outcome, Planned)
    assert any("cold" in one for one in outcome.plan.warnings)
    assert await stable(world) == 3
    await world.done(await world.rollback())
    assert await stable(world) == 2, "a dry run marks nothing as rolled back from"
