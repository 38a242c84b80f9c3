"""Where callers may be sent while servers are drained, away, or behind."""

import asyncio
import signal
from dataclasses import replace

from control_plane.domain.events import Event, EventKind
from control_plane.domain.rollout import Phase
from control_plane.domain.standing import Status
from control_plane.services import fleets
from control_plane.services.callers import away, behind
from control_plane.services.commit import nothing_more
from control_plane.services.sight import look
from control_plane.store import fleets as store
from tests.scenario.stage import FLEET, Resolved, Stage, now, until


async def two_servers(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))


async def why_not(stage: Stage, name: str) -> str:
    """Why callers of `stable` are not sent to a server; "" when they are."""
    async with stage.db.read() as s:
        sight = await look(s, FLEET)
    server = next(one for one in sight.servers if one.name == name)
    return away(sight, server) or behind(sight, name, "half_plus_two", "stable")


async def may_be_missed(stage: Stage, count: int) -> None:
    async with stage.db.begin() as s:
        fleet = await store.fleet(s, FLEET)
        await store.save_fleet(s, replace(fleet, max_unavailable=count), None)
    stage.nudge()


async def drain(stage: Stage, name: str, kind: EventKind) -> None:
    event = Event(kind, now(), "ada", reason="new kernel")
    await fleets.drain_server(stage.db, (FLEET, name), event=event, commit=nothing_more)
    stage.nudge()


async def test_a_laggard_gets_no_callers_before_it_was_caught_up(stage: Stage) -> None:
    await two_servers(stage)
    await may_be_missed(stage, 1)
    stage.servers["b"].signal(signal.SIGSTOP)
    await stage.settles("b", Status.UNREACHABLE)
    over = await stage.done(await stage.promote("half_plus_two", 2))
    assert over.laggards == ("b",)
    assert "does not answer" in await why_not(stage, "b")
    stage.servers["b"].signal(signal.SIGCONT)
    given = 0
    async with asyncio.timeout(20):
        while given < 5:
            if not await why_not(stage, "b"):
                assert await stage.label("b", "half_plus_two") == Resolved(2)
                given += 1
            await asyncio.sleep(0.01)


async def test_a_drained_server_keeps_its_labels_and_takes_part_in_rollouts(stage: Stage) -> None:
    await two_servers(stage)
    await drain(stage, "b", EventKind.SERVER_DRAINED)
    assert await why_not(stage, "b") == "ada drained it: new kernel"
    assert await stage.label("b", "half_plus_two") == Resolved(1)
    over = await stage.done(await stage.promote("half_plus_two", 2))
    assert set(over.steps[0].servers) == {"a", "b"}
    assert await stage.label("b", "half_plus_two") == Resolved(2)
    assert await why_not(stage, "b") == "ada drained it: new kernel"
    await drain(stage, "b", EventKind.SERVER_UNDRAINED)
    assert await why_not(stage, "b") == ""


async def test_waves_reach_a_server_that_comes_back_before_its_wave_counts_it(
    stage: Stage,
) -> None:
    await two_servers(stage)
    await stage.strategy("waves", "load", {"promote": {"waves": [1, "all"]}})
    stage.servers["b"].signal(signal.SIGSTOP)
    await stage.settles("b", Status.UNREACHABLE)
    rollout = await stage.promote("half_plus_two", 2, strategy="waves")
    await until(lambda: stage.rollout(rollout), lambda one: one.phase is Phase.WAITING)
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    stage.servers["b"].signal(signal.SIGCONT)
    over = await stage.done(rollout, 30)
    assert over.laggards == ()
    for name in ("a", "b"):
        assert await stage.label(name, "half_plus_two") == Resolved(2)
