"""Stories of servers that load a version later than the others: their hooks run beside."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from control_plane.domain.hook_document import check
from control_plane.domain.hook_runs import Run
from control_plane.domain.rollout import Rollout
from control_plane.domain.standing import Status
from control_plane.services import hooks
from control_plane.services.commit import nothing_more
from control_plane.store import fleets
from tests.scenario.hook_target import HookTarget, Reply, hook_target
from tests.scenario.stage import FLEET, Stage, now, until

MODEL = "half_plus_two"


@pytest.fixture
async def target() -> AsyncIterator[HookTarget]:
    async with hook_target() as made:
        yield made


@pytest.fixture
async def ready(stage: Stage, target: HookTarget) -> Stage:
    """Two servers, of which one may be away; whoever loads a version is initialised."""
    await stage.model(MODEL, 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    async with stage.db.begin() as s:
        fleet = await fleets.fleet(s, FLEET)
        await fleets.save_fleet(s, replace(fleet, max_unavailable=1), None)
    await stage.start_loop()
    await stage.done(await stage.deploy(MODEL, 1, stable=1))
    await hook(stage, "init", "after_load", target.url("/init"))
    return stage


async def hook(stage: Stage, name: str, moment: str, url: str, **more: Any) -> None:
    made = check({"name": name, "moment": moment, "http": {"url": url}} | more)
    await hooks.create(stage.db, made, actor="test", now=now(), commit=nothing_more)


async def initialised(target: HookTarget) -> list[tuple[str, int]]:
    return [(one.body["server"], one.body["version"]) for one in target.at("/init")]


async def runs_on(stage: Stage, rollout: Rollout, server: str) -> list[Run]:
    return [one for one in await hooks.runs_of(stage.db, rollout.id) if one.server == server]


async def away(stage: Stage, server: str) -> None:
    stage.servers[server].kill()
    await stage.settles(server, Status.UNREACHABLE)


async def test_a_laggard_that_loads_after_the_end_is_initialised_once(
    ready: Stage, target: HookTarget
) -> None:
    await away(ready, "b")
    rollout = await ready.done(await ready.promote(MODEL, 2))
    assert await initialised(target) == [("a", 2)]
    ready.servers["b"].start()
    await until(lambda: initialised(target), lambda seen: seen == [("a", 2), ("b", 2)])
    await until(
        lambda: runs_on(ready, rollout, "b"), lambda seen: [r.state.over for r in seen] == [True]
    )
    await away(ready, "b")
    ready.servers["b"].start()
    await ready.settles("b", Status.READY)
    await hook(ready, "fence", "on_event", target.url("/fence"), events=["rollout.ended"])
    await ready.done(await ready.rollback(MODEL))
    await until(lambda: _told(target), bool)
    assert await initialised(target) == [("a", 2), ("b", 2)]


async def test_a_server_that_restarts_within_a_rollout_is_initialised_anew(
    ready: Stage, target: HookTarget
) -> None:
    await hook(
        ready, "stop", "before_promote", target.url("/stop", Reply(hangs=True)), timeout_s=60
    )
    rollout = await ready.promote(MODEL, 2)
    await until(lambda: _stopped(target), bool)
    assert sorted(await initialised(target)) == [("a", 2), ("b", 2)]
    await away(ready, "b")
    ready.servers["b"].start()
    seen = await until(lambda: initialised(target), lambda seen: len(seen) == 3)
    assert seen[-1] == ("b", 2)
    first, second = await until(
        lambda: runs_on(ready, rollout, "b"), lambda seen: len(seen) == 2 and seen[1].state.over
    )
    assert first.id != second.id


async def _told(target: HookTarget) -> int:
    return len(target.at("/fence"))


async def _stopped(target: HookTarget) -> int:
    return len(target.at("/stop"))
