"""Promotions by a strategy: one server before the other, with time, people and a way out."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.services.rollouts import Verb
from tests.scenario.stage import Resolved, Stage, until

M = "half_plus_two"
HALF = {"canary": {"servers": "50%"}}
BAKE = {"bake": {"seconds": 1}}
FOREVER = {"bake": {"seconds": 3600}}
WAVES = {"promote": {"waves": ["50%", "100%"]}}


@pytest.fixture
async def two(stage: Stage) -> Stage:
    """Two servers whose label `stable` answers with version 1."""
    await stage.model(M, 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy(M, 1, stable=1))
    return stage


async def at(stage: Stage, rollout: Rollout, name: StepName) -> Rollout:
    """Wait until a step of this name is under way."""

    def there(seen: Rollout) -> bool:
        return seen.step is not None and seen.step.name is name and seen.step.begun

    return await until(lambda: stage.rollout(rollout), there)


async def labels(stage: Stage, label: str) -> list[object]:
    return [await stage.label(name, M, label) for name in ("a", "b")]


def seconds_since(at: datetime) -> Callable[[], Awaitable[float]]:
    async def passed() -> float:
        return (datetime.now(UTC) - at).total_seconds()

    return passed


async def moves(stage: Stage) -> list[tuple[str, str]]:
    """Which server was told to move which label to version 2, in this order."""
    return [
        (one.server, label)
        for one in await stage.events("server.reloaded")
        for label in re.findall(r"(\w+) → 2", one.data["sentence"])
    ]


async def test_the_canary_goes_first_and_the_label_follows_server_by_server(two: Stage) -> None:
    await two.strategy("careful", "load", HALF, BAKE, WAVES)
    over = await two.done(await two.promote(M, 2, strategy="careful"))
    covered = {(str(one.name), one.servers) for one in over.steps}
    assert {("canary", ("a",)), ("promote", ("a",)), ("promote", ("a", "b"))} <= covered
    baked = next(one for one in over.steps if one.name is StepName.BAKE)
    assert baked.started_at is not None
    assert baked.ended_at is not None
    assert (baked.ended_at - baked.started_at).total_seconds() >= 1
    assert await moves(two) == [("a", "canary"), ("a", "stable"), ("b", "canary"), ("b", "stable")]
    assert await labels(two, "stable") == await labels(two, "canary") == [Resolved(2)] * 2


async def test_between_two_waves_each_server_answers_as_its_steps_say(two: Stage) -> None:
    half, whole = {"promote": {"waves": ["50%"]}}, {"promote": {"waves": ["all"]}}
    await two.strategy("people", "load", "canary", half, "approve", whole)
    rollout = await at(two, await two.promote(M, 2, strategy="people"), StepName.APPROVE)
    assert await labels(two, "stable") == [Resolved(2), Resolved(1)]
    assert await labels(two, "canary") == [Resolved(2), Resolved(2)]
    await two.steer(rollout, Verb.APPROVE)
    await two.done(rollout)
    assert await labels(two, "stable") == [Resolved(2), Resolved(2)]


async def test_who_rejects_a_canary_has_it_taken_back(two: Stage) -> None:
    await two.strategy("people", "load", HALF, "approve", "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="people"), StepName.APPROVE)
    assert await two.label("a", M, "canary") == Resolved(2)
    assert not isinstance(await two.label("b", M, "canary"), Resolved)
    over = await two.steer(rollout, Verb.REJECT)
    assert over.phase is Phase.ABORTED
    await until(lambda: two.states("a", M), lambda seen: seen == {1: "AVAILABLE", 2: "END"})
    assert not isinstance(await two.label("a", M, "canary"), Resolved)
    assert await labels(two, "stable") == [Resolved(1)] * 2


async def test_a_paused_rollout_bakes_on_but_moves_only_when_it_is_resumed(two: Stage) -> None:
    await two.strategy("careful", "load", BAKE, "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="careful"), StepName.BAKE)
    await two.steer(rollout, Verb.PAUSE)
    baked = rollout.step.started_at if rollout.step else None
    assert baked is not None
    await until(seconds_since(baked), lambda seconds: seconds > 1.5)
    assert await labels(two, "stable") == [Resolved(1)] * 2
    await two.steer(rollout, Verb.RESUME)
    await two.done(rollout)


async def test_who_promotes_now_does_not_wait_for_the_bake(two: Stage) -> None:
    await two.strategy("slow", "load", "canary", FOREVER, "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="slow"), StepName.BAKE)
    await two.steer(rollout, Verb.PROMOTE_NOW)
    await two.done(rollout)
    assert await labels(two, "stable") == [Resolved(2)] * 2


async def test_a_rollback_ends_a_bake_at_once(two: Stage) -> None:
    await two.strategy("slow", "load", "canary", FOREVER, "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="slow"), StepName.BAKE)
    back = await two.rollback(M, to_version=1)
    assert (await two.rollout(rollout)).superseded_by == back.id
    await two.done(back)
    assert await labels(two, "stable") == [Resolved(1)] * 2
    assert not isinstance(await two.label("a", M, "canary"), Resolved)


async def test_a_bake_goes_on_after_the_loop_has_begun_anew(two: Stage) -> None:
    await two.strategy("careful", "load", "canary", {"bake": {"seconds": 2}}, "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="careful"), StepName.BAKE)
    began = rollout.step.started_at if rollout.step else None
    await two.stop_loop()
    assert await labels(two, "stable") == [Resolved(1)] * 2
    await two.start_loop()
    over = await two.done(rollout)
    baked = next(one for one in over.steps if one.name is StepName.BAKE)
    assert baked.started_at == began
    assert await labels(two, "stable") == [Resolved(2)] * 2


async def test_a_server_that_restarts_while_it_bakes_comes_back_with_its_canary(
    two: Stage,
) -> None:
    await two.strategy("slow", "load", "canary", FOREVER, "promote")
    rollout = await at(two, await two.promote(M, 2, strategy="slow"), StepName.BAKE)
    two.servers["a"].kill()
    two.servers["a"].start()
    await until(lambda: two.label("a", M, "canary"), lambda seen: seen == Resolved(2))
    await two.answers("a", M, 1)
    await two.steer(rollout, Verb.PROMOTE_NOW)
    await two.done(rollout)
