"""Freezes refuse what is asked, hold what is under way, and give way to a person who says why."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from control_plane.domain.calendar import frozen
from control_plane.domain.errors import FieldInvalid, Frozen, GateBlocked, PhaseForbids
from control_plane.domain.events import Event, EventKind
from control_plane.domain.gate import Freeze, Ruling, parse_gate
from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.rollout import Phase, StepName
from control_plane.domain.strategy_document import parse
from control_plane.services import promotion, strategies
from control_plane.services.changes import Call, Outcome, Planned, Unchanged
from control_plane.services.commit import nothing_more
from control_plane.services.rollouts import Verb, steer
from tests.services.world import FLEET, World, begun, serving


async def ready(world: World, *steps: Any, fleets: str = "*") -> None:
    """Serve version 1; a window is open for an hour, and a strategy has these steps."""
    await world.done(await world.deploy({1}, stable=1))
    hour = timedelta(hours=1)
    window = {"from": (world.now - hour).isoformat(), "to": (world.now + hour).isoformat()}
    gate = {"kind": "freeze", "windows": [window | {"fleets": [fleets], "reason": "sale"}]}
    strategy = parse({"steps": [{"gate": gate} if one == "freeze" else one for one in steps]})
    event = Event(EventKind.STRATEGY_CHANGED, world.now, "ada")
    await strategies.put(
        world.db, "careful", strategy, event=event, expected=None, commit=nothing_more
    )


async def promote(world: World, version: int = 2, **call: Any) -> Outcome:
    request = PromoteRequest("stable", version, strategy="careful")
    by: Call = replace(world.call(), **call)
    return await promotion.promote(world.db, FLEET, "m", request, by)


async def test_an_open_window_refuses_a_promotion_and_nothing_changes(world: World) -> None:
    await ready(world, "load", "freeze", "promote")
    with pytest.raises(Frozen, match=r"frozen until .* \(sale\)"):
        await promote(world)
    assert await world.head() == serving(1, stable=1)
    rehearsed = await promote(world, dry_run=True)
    assert isinstance(rehearsed, Planned)
    assert any("frozen until" in one for one in rehearsed.plan.warnings)
    assert isinstance(await promote(world, 1), Unchanged)


async def test_a_window_of_another_fleet_refuses_nothing(world: World) -> None:
    await ready(world, "load", "freeze", "promote", fleets="eu-*")
    begun(await promote(world))


async def test_a_freeze_behind_what_takes_its_time_holds_only_then(world: World) -> None:
    await ready(world, "load", {"bake": {"seconds": 60}}, "freeze", "promote")
    assert begun(await promote(world)).rollout.phase.live


async def test_who_breaks_the_glass_says_why_and_the_freeze_lets_go(world: World) -> None:
    await ready(world, "load", "freeze", "promote")
    started = begun(await promote(world, break_glass="prod is down")).rollout
    spec = next(one.spec for one in started.steps if one.name is StepName.GATE)
    gate = parse_gate("gate", spec)
    assert isinstance(gate, Freeze)
    verdict = frozen(gate, FLEET, ["m"], world.now)
    assert verdict.ruling is Ruling.PASS
    assert "the glass is broken: prod is down" in verdict.sentence
    (event,) = await world.events(EventKind.ROLLOUT_GLASS_BROKEN)
    told = (event.actor, event.reason, event.rollout, event.data["gates"])
    assert told == ("ada", "prod is down", started.id, ["gate freeze"])


async def test_only_a_person_breaks_the_glass(world: World) -> None:
    await ready(world, "load", "freeze", "promote")
    with pytest.raises(GateBlocked):
        await promote(world, break_glass="ci is in a hurry", automatic=True)
    assert await world.head() == serving(1, stable=1)


async def test_what_holds_at_a_freeze_goes_on_when_somebody_breaks_the_glass(world: World) -> None:
    await ready(world, "load", {"bake": {"seconds": 60}}, "freeze", "promote")
    rollout = begun(await promote(world)).rollout
    with pytest.raises(Frozen):
        await steer(world.db, rollout.id, Verb.PROMOTE_NOW, world.call("outage"))
    by = replace(world.call(), break_glass="outage", actor="bob")
    with pytest.raises(FieldInvalid):
        await steer(world.db, rollout.id, Verb.PAUSE, by)
    told = await steer(world.db, rollout.id, Verb.RETRY, by)
    for _ in range(5):
        world.now += timedelta(minutes=1)
        told = await world.step(told.id)
    assert told.phase is Phase.SUCCEEDED
    (event,) = await world.events(EventKind.ROLLOUT_GLASS_BROKEN)
    assert (event.actor, event.reason, event.data["gates"]) == ("bob", "outage", ["gate freeze"])


async def test_where_no_freeze_is_ahead_there_is_no_glass_to_break(world: World) -> None:
    rollout = await world.deploy({1}, stable=1)
    by = replace(world.call(), break_glass="outage")
    with pytest.raises(PhaseForbids):
        await steer(world.db, rollout.rollout.id, Verb.RETRY, by)


async def test_an_author_goes_past_an_approval_of_others_by_breaking_the_glass_only(
    world: World,
) -> None:
    await ready(world, "load", {"approve": {"count": 1}}, "promote")
    rollout = begun(await promote(world)).rollout
    with pytest.raises(GateBlocked) as caught:
        await steer(world.db, rollout.id, Verb.PROMOTE_NOW, world.call("outage"))
    (blocker,) = caught.value.details["blockers"]
    assert blocker["step"] == "approve"
    assert "not by ada" in blocker["sentence"]
    by = replace(world.call(), break_glass="outage")
    await steer(world.db, rollout.id, Verb.PROMOTE_NOW, by)
    (event,) = await world.events(EventKind.ROLLOUT_GLASS_BROKEN)
    assert event.data["gates"] == ["approve"]


async def test_a_service_goes_past_no_approval(world: World) -> None:
    await ready(world, "load", {"approve": {"count": 1, "exclude_author": False}}, "promote")
    rollout = begun(await promote(world)).rollout
    by = replace(world.call(), actor="ci", automatic=True)
    with pytest.raises(GateBlocked):
        await steer(world.db, rollout.id, Verb.PROMOTE_NOW, by)
    await steer(world.db, rollout.id, Verb.PROMOTE_NOW, replace(world.call(), actor="bob"))
