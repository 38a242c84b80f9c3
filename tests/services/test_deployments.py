"""Deploying, retiring, undeploying, restoring."""

from dataclasses import replace

import pytest

from control_plane.domain.errors import (
    ArtifactMissing,
    FieldInvalid,
    NotFound,
    RolloutInFlight,
    StillInUse,
    VersionUnknown,
)
from control_plane.domain.promotion import DeployRequest
from control_plane.domain.revision import Deployment, Kind, Latest
from control_plane.domain.rollout import Phase, StepName
from control_plane.services.changes import Call, Planned, Unchanged
from control_plane.services.deployments import (
    RestoreRequest,
    follow_policy,
    put_deployment,
    restore,
    retire,
    undeploy,
)
from control_plane.store import catalog
from tests.services.world import FAILED, FLEET, REACHED, World, begun, serving


async def test_a_put_that_moves_a_label_is_a_promotion(world: World) -> None:
    await world.done(await world.deploy({1, 2}, stable=1))
    rollout = await world.done(await world.deploy({1, 2}, stable=2))
    assert StepName.PROMOTE in [one.name for one in rollout.steps]
    await world.done(await world.rollback())
    assert (await world.head()).labels == {"stable": 1}


async def test_the_same_put_again_changes_nothing(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    request = DeployRequest(frozenset({1}), {"stable": 1})
    outcome = await put_deployment(world.db, FLEET, "m", request, world.call())
    assert outcome == Unchanged(serving(1, stable=1))


async def test_the_same_put_while_it_is_under_way_tells_the_rollout(world: World) -> None:
    await world.deploy({1}, stable=1)
    with pytest.raises(RolloutInFlight):
        await world.deploy({1}, stable=1)


async def test_bad_puts_are_refused(world: World) -> None:
    with pytest.raises(FieldInvalid):
        await world.deploy({1}, stable=2)
    with pytest.raises(VersionUnknown):
        await world.deploy({1, 9})
    with pytest.raises(NotFound):
        await world.deploy({1}, model="nothing")
    async with world.db.begin() as s:
        pending = await catalog.version(s, "m", 4)
        await catalog.save_version(s, replace(pending, digest=""), None)
    with pytest.raises(ArtifactMissing):
        await world.deploy({4}, stable=4)
    assert await world.history() == ()


async def test_a_dry_run_of_a_put_changes_nothing(world: World) -> None:
    request = DeployRequest(frozenset({1}), {"stable": 1})
    outcome = await put_deployment(world.db, FLEET, "m", request, world.call(dry_run=True))
    assert isinstance(outcome, Planned)
    assert outcome.plan.before == {"m": None}
    assert await world.history() == ()


async def test_retiring_drops_a_version(world: World) -> None:
    await world.done(await world.deploy({1, 2}, stable=2))
    outcome = await retire(world.db, FLEET, "m", frozenset({1}), world.call())
    await world.done(begun(outcome))
    assert await world.head() == serving(2, stable=2)
    with pytest.raises(StillInUse):
        await retire(world.db, FLEET, "m", frozenset({2}), world.call())


async def test_undeploying_takes_the_model_away(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    rollout = await world.done(begun(await undeploy(world.db, FLEET, "m", world.call())))
    assert await world.heads() == {}
    assert [one.name for one in rollout.steps] == [StepName.PROMOTE, StepName.RETIRE]
    with pytest.raises(NotFound):
        await undeploy(world.db, FLEET, "m", world.call())


async def test_a_live_rollout_stands_in_the_way_of_both(world: World) -> None:
    await world.deploy({1, 2}, stable=1)
    with pytest.raises(RolloutInFlight):
        await retire(world.db, FLEET, "m", frozenset({2}), world.call())
    with pytest.raises(RolloutInFlight):
        await undeploy(world.db, FLEET, "m", world.call())


async def test_an_undeployed_model_can_be_deployed_again(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(begun(await undeploy(world.db, FLEET, "m", world.call())))
    await world.done(await world.deploy({2}, stable=2))
    assert await world.head() == serving(2, stable=2)


async def test_restoring_brings_a_whole_state_back(world: World) -> None:
    first = await world.deploy({1}, stable=1)
    await world.done(first)
    await world.done(await world.promote(2))
    await world.done(await world.deploy({1}, "other", stable=1))
    outcome = begun(
        await restore(world.db, FLEET, first.revision.number, RestoreRequest(), world.call())
    )
    await world.done(outcome)
    assert outcome.revision.kind is Kind.RESTORE
    heads = await world.heads()
    assert heads["m"] == serving(1, stable=1)
    assert "other" in heads
    pruned = RestoreRequest(prune=True)
    await world.done(begun(await restore(world.db, FLEET, 1, pruned, world.call())))
    assert set(await world.heads()) == {"m"}


async def test_restoring_the_present_changes_nothing(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    outcome = await restore(world.db, FLEET, 1, RestoreRequest(), world.call())
    assert outcome == Unchanged(None)
    assert len(await world.history()) == 1


async def test_restoring_what_never_succeeded_needs_force(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    failed = await world.promote(2)
    await world.finish(failed, {"a": FAILED, "b": REACHED})
    number = failed.revision.number
    with pytest.raises(FieldInvalid) as refused:
        await restore(world.db, FLEET, number, RestoreRequest(), world.call())
    assert refused.value.field == "force"
    forced = RestoreRequest(force=True)
    await world.done(begun(await restore(world.db, FLEET, number, forced, world.call())))
    assert (await world.head()).labels == {"stable": 2}


async def test_a_revert_can_be_restored(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.finish(await world.promote(2), {"a": FAILED, "b": REACHED})
    reverted = (await world.history())[-1].number
    await world.done(await world.promote(3))
    outcome = await restore(world.db, FLEET, reverted, RestoreRequest(), world.call())
    await world.done(begun(outcome))
    assert await world.head() == serving(1, stable=1)


async def test_restoring_is_refused_while_a_changed_model_is_moving(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.promote(2)
    with pytest.raises(RolloutInFlight):
        await restore(world.db, FLEET, 1, RestoreRequest(), world.call())


async def test_an_unknown_revision_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await restore(world.db, FLEET, 7, RestoreRequest(), world.call())


async def test_a_policy_is_expanded_as_a_revision_of_its_own(world: World) -> None:
    request = DeployRequest(frozenset({2}), {"stable": 2}, Latest(2, auto_load=True))
    await world.done(begun(await put_deployment(world.db, FLEET, "m", request, world.call())))
    asked = Call("policy", world.now, "p1")
    outcome = begun(await follow_policy(world.db, FLEET, "m", asked))
    assert (outcome.revision.kind, outcome.revision.actor) == (Kind.POLICY, "policy")
    assert (await follow_policy(world.db, FLEET, "m", asked)) == Unchanged(await world.head())
    assert (await world.done(outcome)).phase is Phase.SUCCEEDED
    wanted = Deployment("m", frozenset({2, 3, 4}), {"stable": 2}, Latest(2, auto_load=True))
    assert await world.head() == wanted
