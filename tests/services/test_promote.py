"""Promoting: what is written, what is refused, and how it ends."""

import asyncio

import pytest

from control_plane.domain.catalog import Version
from control_plane.domain.errors import (
    ArtifactMissing,
    ExpectationFailed,
    FieldInvalid,
    LeaseLost,
    NotFound,
    PreconditionFailed,
    RolloutInFlight,
    VersionUnknown,
)
from control_plane.domain.events import EventKind
from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, StepName
from control_plane.services.changes import Outcome, Planned, Started, Unchanged
from control_plane.services.promotion import promote, promote_group
from control_plane.store import catalog, journal, rollouts
from control_plane.store.database import Database, Session
from tests.services.world import (
    ALL_REACHED,
    AWAY,
    FAILED,
    FLEET,
    REACHED,
    World,
    begun,
    serving,
)


async def test_a_promotion_moves_the_label_and_keeps_the_version_before(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    rollout = await world.done(await world.promote(2))
    assert await world.head() == serving(1, 2, stable=2)
    assert [one.name for one in rollout.steps] == [
        StepName.LOAD,
        StepName.PROMOTE,
        StepName.RETIRE,
    ]


async def test_a_second_promotion_drops_the_version_before_the_last(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.promote(2))
    await world.done(await world.promote(3))
    assert await world.head() == serving(2, 3, stable=3)


async def test_everything_is_told_with_actor_and_reason(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    request = PromoteRequest(version=2)
    outcome = begun(await promote(world.db, FLEET, "m", request, world.call("better")))
    told = (await world.events(EventKind.ROLLOUT_STARTED))[-1]
    assert (told.actor, told.reason, told.rollout) == ("ada", "better", outcome.rollout.id)
    made = (await world.events(EventKind.REVISION_CREATED))[-1]
    assert (made.revision, made.model) == (outcome.revision.number, "m")
    await world.done(outcome)
    seen = (await world.events(EventKind.LABEL_VERIFIED))[-1]
    assert (seen.data["label"], seen.data["version"]) == ("stable", 2)


async def test_a_failed_load_takes_the_head_back_and_tells_the_servers_words(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    before = await world.head()
    rollout = await world.finish(await world.promote(2), {"a": REACHED, "b": FAILED})
    assert rollout.phase is Phase.FAILED
    assert rollout.error == "Data loss: not an sstable"
    assert await world.head() == before
    assert (await world.history())[-1].kind is Kind.REVERT
    assert not rollout.moved


async def test_a_deadline_after_labels_moved_takes_the_head_back(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    outcome = await world.promote(2)
    await world.step(outcome.rollout.id)
    world.now = outcome.rollout.deadline_at
    rollout = await world.finish(outcome, {"a": REACHED, "b": AWAY})
    assert rollout.phase is Phase.ROLLED_BACK
    assert (await world.head()).labels == {"stable": 1}


async def test_a_new_model_that_fails_is_not_deployed_any_more(world: World) -> None:
    rollout = await world.finish(await world.deploy({1}, stable=1), {"a": FAILED, "b": REACHED})
    assert rollout.phase is Phase.FAILED
    assert await world.heads() == {}


async def test_promoting_where_the_label_is_changes_nothing(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    before = await world.history()
    outcome = await promote(world.db, FLEET, "m", PromoteRequest(version=1), world.call())
    assert outcome == Unchanged(serving(1, stable=1))
    assert await world.history() == before


async def test_a_second_promotion_is_refused_while_one_is_live(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    first = await world.promote(2)
    with pytest.raises(RolloutInFlight) as refused:
        await world.promote(3)
    assert refused.value.details["rollout"] == first.rollout.id


async def test_of_two_promotions_at_once_one_is_refused(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    results = await asyncio.gather(world.promote(2), world.promote(3), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["RolloutInFlight", "Started"]
    assert len(await world.history()) == 2


async def test_promotions_of_different_models_do_not_disturb_each_other(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.deploy({1}, "other", stable=1))
    first, second = await world.promote(2), await world.promote(2, "other")
    await world.finish(first, {"a": FAILED, "b": REACHED})
    await world.done(second)
    heads = await world.heads()
    assert (heads["m"].labels, heads["other"].labels) == ({"stable": 1}, {"stable": 2})


async def test_a_superseding_promotion_goes_back_to_where_the_first_began(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    first = await world.promote(2)
    await world.step(first.rollout.id)
    second = await world.promote(3, supersede=True)
    assert second.rollout.from_revision == first.rollout.from_revision
    ended = await world.rollout(first.rollout.id)
    assert (ended.phase, ended.superseded_by) == (Phase.ABORTED, second.rollout.id)
    await world.finish(second, {"a": FAILED, "b": REACHED})
    assert await world.head() == serving(1, stable=1)


async def test_a_superseding_group_keeps_what_was_true_of_each_model(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.deploy({1}, "other", stable=1))
    await world.promote(2)
    await world.done(await world.promote(2, "other"))
    items = tuple((model, PromoteRequest(version=3, supersede=True)) for model in ("m", "other"))
    group = begun(await promote_group(world.db, FLEET, items, world.call()))
    await world.finish(group, {"a": FAILED, "b": REACHED})
    heads = await world.heads()
    assert heads["m"] == serving(1, stable=1)
    assert heads["other"].labels == {"stable": 2}


async def test_a_group_is_one_revision_and_one_rollout(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.deploy({1}, "other", stable=1))
    items = tuple((model, PromoteRequest(version=2)) for model in ("m", "other"))
    group = begun(await promote_group(world.db, FLEET, items, world.call()))
    assert set(group.revision.changes) == {"m", "other"}
    assert group.rollout.models == ("m", "other")
    await world.finish(group, {"a": FAILED, "b": REACHED})
    assert {m: d.labels["stable"] for m, d in (await world.heads()).items()} == {
        "m": 1,
        "other": 1,
    }


async def test_a_group_with_one_bad_member_is_refused_whole(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    before = await world.history()
    items = (("m", PromoteRequest(version=2)), ("other", PromoteRequest(version=2)))
    with pytest.raises(NotFound):
        await promote_group(world.db, FLEET, items, world.call())
    assert await world.history() == before


async def test_an_empty_group_is_refused(world: World) -> None:
    with pytest.raises(FieldInvalid):
        await promote_group(world.db, FLEET, (), world.call())


async def test_an_unregistered_version_is_refused(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    with pytest.raises(VersionUnknown) as refused:
        await world.promote(9)
    assert refused.value.details["known"] == [1, 2, 3, 4]


@pytest.mark.parametrize(("fleet", "model"), [("nowhere", "m"), (FLEET, "nothing"), (FLEET, "m")])
async def test_unknown_and_undeployed_names_are_not_found(
    world: World, fleet: str, model: str
) -> None:
    with pytest.raises(NotFound):
        await promote(world.db, fleet, model, PromoteRequest(version=1), world.call())


async def test_a_failed_expectation_changes_nothing(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    request = PromoteRequest(version=2, expect=3)
    with pytest.raises(ExpectationFailed):
        await promote(world.db, FLEET, "m", request, world.call())
    assert await world.head() == serving(1, stable=1)


async def test_a_deployment_that_changed_since_it_was_read_is_not_promoted(world: World) -> None:
    made = await world.deploy({1}, stable=1)
    await world.done(made)
    call = world.call(if_match=made.revision.number)
    await world.done(await world.promote(2))
    with pytest.raises(PreconditionFailed):
        await promote(world.db, FLEET, "m", PromoteRequest(version=3), call)


@pytest.mark.parametrize(("fault", "digest"), [("saved_model.pb does not parse", "d"), ("", "")])
async def test_what_cannot_be_served_needs_force(world: World, fault: str, digest: str) -> None:
    await world.done(await world.deploy({1}, stable=1))
    async with world.db.begin() as s:
        broken = Version("m", 5, world.now, "ada", digest=digest, fault=fault)
        await catalog.add_version(s, broken)
    with pytest.raises(ArtifactMissing, match="version 5"):
        await world.promote(5)
    request = PromoteRequest(version=5, force=True)
    forced = begun(await promote(world.db, FLEET, "m", request, world.call()))
    assert any("version 5" in one for one in forced.warnings)


async def test_a_dry_run_tells_the_plan_and_changes_nothing(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    before = (await world.history(), await world.heads())
    call = world.call(dry_run=True)
    outcome = await promote(world.db, FLEET, "m", PromoteRequest(version=3), call)
    assert isinstance(outcome, Planned)
    assert [one.name for one in outcome.plan.steps] == ["load", "promote", "retire"]
    assert outcome.plan.after == {"m": serving(1, 3, stable=3)}
    assert outcome.plan.to_revision == 2
    assert outcome.plan.unlabelled == {"m": (1, 3, 3)}
    assert "go from 1 to 3 while it is loaded" in outcome.plan.warnings[0]
    assert (await world.history(), await world.heads()) == before


async def test_a_dry_run_foretells_the_revisions_that_a_run_writes(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.promote(2)
    request = PromoteRequest(version=3, supersede=True)
    planned = await promote(world.db, FLEET, "m", request, world.call(dry_run=True))
    assert isinstance(planned, Planned)
    made = await world.promote(3, supersede=True)
    assert planned.plan.to_revision == made.revision.number
    assert planned.plan.supersedes == ("r2",)


async def test_what_is_kept_with_the_answer_is_kept_in_the_same_transaction(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))

    async def fail(s: Session, outcome: Outcome) -> None:
        assert isinstance(outcome, Started)
        assert await rollouts.rollout(s, outcome.rollout.id) == outcome.rollout
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await promote(world.db, FLEET, "m", PromoteRequest(version=2), world.call(), fail)
    assert await world.head() == serving(1, stable=1)


async def test_without_servers_a_promotion_is_done_at_once(db: Database) -> None:
    world = World(db)
    await world.set_up(servers=())
    await world.deploy({1}, stable=1)
    outcome = await world.promote(2)
    assert outcome.rollout.phase is Phase.SUCCEEDED
    back = await world.rollback()
    assert (back.rollout.phase, await world.head()) == (Phase.SUCCEEDED, serving(1, stable=1))


async def test_looking_again_at_the_same_facts_writes_nothing(world: World) -> None:
    outcome = await world.deploy({1}, stable=1)
    waiting = await world.step(outcome.rollout.id, {"a": REACHED, "b": AWAY})
    async with world.db.read() as s:
        last = await journal.last_seq(s)
    assert await world.step(outcome.rollout.id, {"a": REACHED, "b": AWAY}) == waiting
    async with world.db.read() as s:
        assert await journal.last_seq(s) == last


async def test_whoever_lost_the_lease_advances_nothing(world: World) -> None:
    outcome = await world.deploy({1}, stable=1)
    world.epoch += 1
    with pytest.raises(LeaseLost):
        await world.step(outcome.rollout.id, ALL_REACHED)
    assert await world.rollout(outcome.rollout.id) == outcome.rollout


async def test_a_rollout_survives_being_read_back(world: World) -> None:
    outcome = await world.deploy({1}, stable=1)
    assert await world.rollout(outcome.rollout.id) == outcome.rollout
    seen = await world.step(outcome.rollout.id)
    assert await world.rollout(seen.id) == seen
