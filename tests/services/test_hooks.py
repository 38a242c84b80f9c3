"""Hooks and their runs, as they are kept."""

from dataclasses import replace
from typing import Any

import pytest

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Hook, Saved
from control_plane.domain.hook_document import check
from control_plane.domain.hook_runs import Run, RunState, event_run
from control_plane.services import hooks
from control_plane.services.commit import nothing_more
from control_plane.store import hooks as store
from tests.services.world import World


def a_hook(**changes: Any) -> Hook:
    given = {
        "name": "h",
        "moment": "after_load",
        "http": {"url": "http://h/", "headers": {"K": "s"}},
    }
    return check(given | changes)


async def create(world: World, **changes: Any) -> Saved:
    hook = a_hook(**changes)
    return await hooks.create(world.db, hook, actor="ada", now=world.now, commit=nothing_more)


def a_run(hook: Hook, world: World) -> Run:
    return event_run(hook, Event(EventKind.FLEET_CHANGED, world.now, "ada", seq=1), world.now)


async def test_a_hook_is_found_as_it_was_made(world: World) -> None:
    made = await create(world, model="m")
    assert await hooks.show(world.db, "h") == made
    assert await hooks.listed(world.db, "default") == (made,)
    assert await hooks.listed(world.db, "elsewhere") == ()
    (event,) = await world.events(EventKind.HOOK_CREATED)
    assert (event.actor, event.fleet, event.data["hook"]) == ("ada", "default", "h")


async def test_what_headers_say_is_not_shown(world: World) -> None:
    shown = hooks.hook_json(await create(world))
    assert shown["http"]["headers"] == {"K": "***"}


@pytest.mark.parametrize("unknown", [{"fleet": "nowhere"}, {"model": "nothing"}])
async def test_a_hook_of_something_unknown_is_refused(world: World, unknown: Any) -> None:
    with pytest.raises(NotFound):
        await create(world, **unknown)
    assert await hooks.listed(world.db) == ()


async def test_a_name_is_taken_once(world: World) -> None:
    await create(world)
    with pytest.raises(AlreadyExists):
        await create(world, moment="before_load")


async def test_a_deleted_hook_leaves_its_runs(world: World) -> None:
    made = await create(world)
    async with world.db.begin() as s:
        await store.add_runs(s, [a_run(made.hook, world)])
    await hooks.delete(world.db, "h", actor="ada", now=world.now, commit=nothing_more)
    with pytest.raises(NotFound):
        await hooks.show(world.db, "h")
    assert [one.hook for one in await hooks.runs_by(world.db, "h")] == ["h"]
    with pytest.raises(NotFound):
        await hooks.delete(world.db, "h", actor="ada", now=world.now, commit=nothing_more)


async def test_a_run_is_written_down_once_and_has_one_result(world: World) -> None:
    run = a_run((await create(world)).hook, world)
    async with world.db.begin() as s:
        assert await store.add_runs(s, [run, run]) == (run,)
        assert await store.add_runs(s, [run]) == ()
        good = replace(run, state=RunState.SUCCEEDED, attempts=1, output="喜欢")
        assert await store.save_run(s, good)
        assert not await store.save_run(s, replace(run, state=RunState.FAILED))
        assert await store.open_runs(s) == ()
    assert await hooks.runs_by(world.db, "h") == (good,)


async def test_a_promotion_waits_before_its_first_step_for_hooks_that_are_due(
    world: World,
) -> None:
    await create(world, moment="before_load")
    outcome = await world.deploy({1}, stable=1)
    assert outcome.rollout.step is not None
    assert outcome.rollout.step.started_at is None
    other = await world.deploy({1}, model="other", stable=1)
    assert other.rollout.step is not None


async def test_a_hook_of_another_model_holds_nothing(world: World) -> None:
    await create(world, moment="before_load", model="other")
    outcome = await world.deploy({1}, stable=1)
    assert outcome.rollout.step is not None
    assert outcome.rollout.step.started_at == outcome.rollout.created_at
