"""What is told of a label while it moves: where it points, and what answers on which servers."""

import json
from typing import Any

from control_plane.domain.events import Event, EventKind
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.record import to_json
from control_plane.domain.rollout import StepName
from control_plane.domain.state import State
from control_plane.domain.strategy_document import parse
from control_plane.services import strategies, views
from control_plane.services.commit import nothing_more
from control_plane.services.resolve import Resolved
from control_plane.store import fleets
from tests.services.world import FLEET, World

UP = VersionSeen(State.AVAILABLE, 1.0, served=True)
STEPS = ["load", {"canary": {"servers": 1}}, {"promote": {"waves": [1, "all"]}}]


async def answer(world: World, server: str, **labels: int) -> None:
    """Let a server be seen answering with these versions."""
    seen = Observed(at=1.0, reachable=True, models={"m": {1: UP, 2: UP}}, labels={"m": labels})
    async with world.db.begin() as s:
        await fleets.save_observed(s, FLEET, server, to_json(seen), epoch=world.epoch)


async def resolved(world: World, label: str = "stable") -> dict[str, Any]:
    snapshot = Resolved(world.db)
    await snapshot.refresh_all()
    told = json.loads(snapshot.answer(FLEET, "m", label))
    wanted = ("version", "moving", "servers", "servers_serving", "servers_total")
    return {name: told[name] for name in wanted}


async def in_waves(world: World) -> str:
    """Serve version 1 on two servers, and start to promote version 2 in two waves."""
    await world.done(await world.deploy({1}, stable=1))
    event = Event(EventKind.STRATEGY_CHANGED, world.now, "ada")
    strategy = parse({"steps": STEPS})
    await strategies.put(
        world.db, "waves", strategy, event=event, expected=None, commit=nothing_more
    )
    for name in ("a", "b"):
        await answer(world, name, stable=1)
    return (await world.promote(2, strategy="waves")).rollout.id


async def test_while_a_label_moves_in_waves_it_is_told_what_answers_on_how_many_servers(
    world: World,
) -> None:
    rollout = await in_waves(world)
    still = {"version": 1, "moving": True, "servers_total": 2}
    assert await resolved(world) == still | {"servers": {"1": 2}, "servers_serving": 2}
    await world.step(rollout)
    wave = (await world.step(rollout)).step
    assert wave is not None
    assert wave.name is StepName.PROMOTE
    await answer(world, "a", stable=2)
    assert await resolved(world) == still | {"servers": {"1": 1, "2": 1}, "servers_serving": 1}
    shown, _ = await views.deployment(world.db, FLEET, "m")
    assert shown["labels"]["stable"] == 2
    assert shown["status"]["labels"]["stable"] == {"version": 2, "servers": 1, "of": 2}
    assert shown["status"]["answers"]["stable"] == {"1": 1, "2": 1}
    await world.step(rollout)
    await answer(world, "b", stable=2)
    there = {"version": 2, "servers": {"2": 2}, "servers_serving": 2, "servers_total": 2}
    assert await resolved(world) == there | {"moving": True}
    await world.step(rollout)
    assert await resolved(world) == there | {"moving": False}


async def test_a_label_that_only_some_servers_have_yet_resolves_to_what_they_answer(
    world: World,
) -> None:
    rollout = await in_waves(world)
    await world.step(rollout)
    await answer(world, "a", stable=1, canary=2)
    assert await resolved(world, "canary") == {
        "version": 2,
        "moving": True,
        "servers": {"2": 1},
        "servers_serving": 1,
        "servers_total": 2,
    }
    assert (await resolved(world))["servers"] == {"1": 2}


async def test_a_server_that_answers_otherwise_shows_though_nothing_moves(world: World) -> None:
    await world.done(await world.deploy({1, 2}, stable=1))
    await answer(world, "a", stable=1)
    await answer(world, "b", stable=2)
    told = await resolved(world)
    assert (told["version"], told["moving"], told["servers"]) == (1, False, {"1": 1, "2": 1})
