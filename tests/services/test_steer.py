"""Steering rollouts."""

import pytest

from control_plane.domain.errors import NotFound, PhaseForbids
from control_plane.domain.events import EventKind
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase
from control_plane.services.rollouts import Verb, listed, show, steer
from control_plane.store.database import Page
from tests.services.world import AWAY, FAILED, REACHED, World, serving


async def test_a_paused_rollout_goes_on_when_it_is_resumed(world: World) -> None:
    outcome = await world.deploy({1}, stable=1)
    paused = await steer(world.db, outcome.rollout.id, Verb.PAUSE, world.call())
    assert paused.phase is Phase.PAUSED
    assert await world.step(paused.id) == paused
    world.now = paused.deadline_at
    resumed = await steer(world.db, paused.id, Verb.RESUME, world.call("go on"))
    assert resumed.deadline_at > world.now
    await world.done(outcome)
    assert (await world.events(EventKind.ROLLOUT_RESUMED))[0].reason == "go on"


async def test_aborting_goes_back(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    outcome = await world.promote(2)
    await world.step(outcome.rollout.id)
    call = world.call("wrong model")
    over = await steer(world.db, outcome.rollout.id, Verb.ABORT, call)
    assert over.phase is Phase.ABORTED
    assert "ada: wrong model" in over.sentence
    assert await world.head() == serving(1, stable=1)
    revert = (await world.history())[-1]
    assert (revert.kind, revert.actor, revert.reason) == (Kind.REVERT, "ada", "wrong model")
    assert (await world.events(EventKind.ROLLOUT_ENDED))[-1].actor == "ada"


async def test_retrying_gives_a_live_rollout_its_time_again(world: World) -> None:
    outcome = await world.deploy({1}, stable=1)
    world.now = outcome.rollout.deadline_at
    retried = await steer(world.db, outcome.rollout.id, Verb.RETRY, world.call())
    assert retried.deadline_at > world.now
    waiting = await world.step(retried.id, {"a": REACHED, "b": AWAY})
    assert waiting.phase is Phase.WAITING


async def test_retrying_a_failed_rollout_starts_it_once_more(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    failed = await world.finish(await world.promote(2), {"a": FAILED, "b": REACHED})
    again = await steer(world.db, failed.id, Verb.RETRY, world.call())
    assert again.id != failed.id
    assert (again.kind, again.label) == (Kind.PROMOTE, "stable")
    for _ in range(3):
        again = await world.step(again.id)
    assert again.phase is Phase.SUCCEEDED
    assert await world.head() == serving(1, 2, stable=2)


async def test_a_failed_rollout_is_not_retried_over_a_later_change(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    failed = await world.finish(await world.promote(2), {"a": FAILED, "b": REACHED})
    await world.done(await world.promote(3))
    with pytest.raises(PhaseForbids):
        await steer(world.db, failed.id, Verb.RETRY, world.call())


@pytest.mark.parametrize("verb", list(Verb))
async def test_what_succeeded_cannot_be_steered(world: World, verb: Verb) -> None:
    over = await world.done(await world.deploy({1}, stable=1))
    with pytest.raises(PhaseForbids):
        await steer(world.db, over.id, verb, world.call())
    assert await world.rollout(over.id) == over


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.APPROVE, Verb.REJECT])
async def test_verbs_that_mean_nothing_now_are_refused(world: World, verb: Verb) -> None:
    outcome = await world.deploy({1}, stable=1)
    with pytest.raises(PhaseForbids):
        await steer(world.db, outcome.rollout.id, verb, world.call())


async def test_an_unknown_rollout_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await steer(world.db, "nothing", Verb.PAUSE, world.call())
    with pytest.raises(NotFound):
        await show(world.db, "nothing")


async def test_rollouts_are_listed_newest_first(world: World) -> None:
    first = await world.done(await world.deploy({1}, stable=1))
    second = await world.promote(2)
    found = await listed(world.db, Page(), model="m")
    assert [one.id for one in found.items] == [second.rollout.id, first.id]
    live = await listed(world.db, Page(), phase="progressing")
    assert live.items == (second.rollout,)
