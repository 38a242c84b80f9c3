"""What a dry run foretells, from what is written in the database."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event

from control_plane.domain.catalog import Model, Version
from control_plane.domain.events import Event, EventKind
from control_plane.domain.observed import Observed
from control_plane.domain.promotion import PromoteRequest, RollbackRequest
from control_plane.domain.record import to_json
from control_plane.domain.signature import Signature, TensorSpec
from control_plane.domain.signature import to_json as signatures_json
from control_plane.domain.state import State
from control_plane.services.changes import Outcome, Planned
from control_plane.services.plan_view import plan_json
from control_plane.services.promotion import promote, rollback
from control_plane.store import catalog, fleets, journal
from tests.services.world import FLEET, SERVERS, World
from tests.unit.planning import config, entry, running, seen

UP = State.AVAILABLE
AT_1 = running(config(m=entry("m", 1, stable=1)), {"m": {1: UP}})
AT_BOTH = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: UP}})


async def saw(world: World, seen: Observed, *servers: str) -> None:
    """Write what was observed of servers."""
    async with world.db.begin() as s:
        documents = {name: to_json(seen) for name in servers or SERVERS}
        await fleets.save_observations(s, FLEET, documents, epoch=world.epoch)


def plan_of(outcome: Outcome) -> dict[str, Any]:
    assert isinstance(outcome, Planned), outcome
    return plan_json(outcome)


async def planned(world: World, version: int = 2) -> dict[str, Any]:
    request = PromoteRequest(version=version)
    return plan_of(await promote(world.db, FLEET, "m", request, world.call(dry_run=True)))


async def add(world: World, number: int, **more: Any) -> None:
    async with world.db.begin() as s:
        version = Version("m", number, world.now, "ada", digest="d", **more)
        await catalog.add_version(s, version)


def words(plan: Mapping[str, Any], server: str = "a") -> list[str]:
    return [one["why"] for one in plan["reloads"] if one["server"] == server]


async def test_every_server_is_planned_from_what_was_seen_of_it(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, AT_1, "a")
    await saw(world, AT_BOTH, "b")
    plan = await planned(world)
    assert words(plan, "a") == ["load m 2", "m: stable → 2"]
    assert words(plan, "b") == ["m: stable → 2"]
    assert [(one["server"], one["end"], one["seen"]) for one in plan["ends"]] == [
        ("a", "converged", "observed"),
        ("b", "converged", "observed"),
    ]


async def test_a_reload_shows_its_config_and_what_it_changes(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, AT_1)
    load, move = [one for one in (await planned(world))["reloads"] if one["server"] == "a"]
    assert "+        versions: 2" in load["diff"].splitlines()
    assert '-      key: "_cp_' in move["diff"]
    assert move["config"].count('name: "m"') == 1
    assert (load["unlabelled_before"], load["unlabelled_after"]) == ({"m": 1}, {"m": 2})
    assert (load["warm"], move["warm"]) == (False, True)


async def test_servers_that_were_not_seen_are_planned_all_the_same_and_named(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, replace(AT_1, reachable=False), "a")
    plan = await planned(world)
    assert words(plan, "a") == ["load m 2", "m: stable → 2"]
    assert (words(plan, "b")[0], words(plan, "b")[-1]) == ("add m 1", "m: stable → 2")
    assert "a: does not answer; planned from what was last observed" in plan["warnings"]
    assert "b: never looked at; planned as if nothing were loaded there" in plan["warnings"]


async def test_a_plan_reads_as_often_for_many_models_as_for_few(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    few = await reads(world)
    async with world.db.begin() as s:
        for name in (names := [f"x{number}" for number in range(9)]):
            await catalog.add_model(s, Model(name, f"/models/{name}", world.now, "ada"))
            await catalog.add_version(s, Version(name, 1, world.now, "ada", digest="d"))
    for name in names:
        await world.done(await world.deploy({1}, name, stable=1))
    assert await reads(world) == few


async def reads(world: World) -> int:
    """How many statements a plan takes."""
    heard: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        heard.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        await planned(world)
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    return len(heard)


async def test_what_stops_a_server_is_said(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    failed = seen(State.END, error="bad variables")
    await saw(world, running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: failed}}))
    plan = await planned(world)
    end = plan["ends"][0]
    assert (end["end"], end["cause"]) == ("blocked", "load-failed")
    assert any(one.startswith("a, b: stops there, blocked") for one in plan["warnings"])


async def test_the_way_back_is_instant_while_the_version_before_is_kept(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, AT_1)
    assert (await planned(world))["rollback"] == "instant"


async def test_a_cold_way_back_takes_as_long_as_its_loads_took(world: World) -> None:
    await world.done(await world.deploy({1}, keep=0, stable=1))
    await saw(world, AT_1)
    assert (await planned(world))["rollback"] == "≈ 1 s load"
    async with world.db.begin() as s:
        for state, s_later in (("START", 0), ("LOADING", 1), ("AVAILABLE", 38)):
            at, data = world.now + timedelta(seconds=s_later), {"version": 1, "state": state}
            kind = EventKind.VERSION_STATE_CHANGED
            await journal.append(
                s, Event(kind, at, "loop", fleet=FLEET, model="m", server="a", data=data)
            )
    plan = await planned(world)
    assert plan["rollback"] == "≈ 38 s load"
    assert plan["eta_s"] > 38


async def test_a_rollback_says_whether_it_has_to_load(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.promote(2))
    both = running(config(m=entry("m", 1, 2, stable=2)), {"m": {1: UP, 2: UP}})
    await saw(world, both)
    outcome = await rollback(world.db, FLEET, "m", RollbackRequest(), world.call(dry_run=True))
    assert plan_of(outcome)["rollback"] == "instant"
    await saw(world, running(config(m=entry("m", 2, stable=2)), {"m": {2: UP}}), "b")
    outcome = await rollback(world.db, FLEET, "m", RollbackRequest(), world.call(dry_run=True))
    assert plan_of(outcome)["rollback"] == "≈ 1 s load"


async def test_the_memory_at_the_peak_is_held_against_what_the_server_has(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await add(world, 7, size_bytes=1000)
    await saw(world, AT_1)
    async with world.db.begin() as s:
        server = await fleets.server(s, FLEET, "a")
        await fleets.save_server(s, replace(server, memory_bytes=1100), None)
    plan = await planned(world, 7)
    assert plan["memory"] == {
        "a": {"peak_bytes": 1200, "memory_bytes": 1100, "fits": False},
        "b": {"peak_bytes": 1200, "memory_bytes": None, "fits": None},
    }
    assert any(one.startswith("a: needs about") for one in plan["warnings"])


async def test_where_nothing_else_helps_the_way_back_becomes_cold(world: World) -> None:
    await world.done(await world.deploy({1}, keep=2, stable=1))
    for number in (7, 8):
        await add(world, number, size_bytes=1000)
    await world.done(await world.promote(7))
    await world.done(await world.promote(8))
    await add(world, 9, size_bytes=1000)
    async with world.db.begin() as s:
        server = await fleets.server(s, FLEET, "a")
        await fleets.save_server(s, replace(server, memory_bytes=2400), None)
    held = {1: UP, 7: UP, 8: UP}
    await saw(world, running(config(m=entry("m", *held, stable=8)), {"m": held}))
    plan = await planned(world, 9)
    assert words(plan) == ["drop m 1, 7 to make room", "load m 9", "m: stable → 9"]
    assert plan["after"]["m"]["versions"] == [8, 9]
    (told,) = [one for one in plan["warnings"] if one.startswith("m 7")]
    assert told.endswith("memory is short on a; it is not kept, so a way back to it takes a load")
    assert plan["memory"]["a"]["fits"]
    begun = await world.promote(9)
    assert begun.rollout.steps[0].spec == plan["specs"][0]
    assert (await world.head()).versions == {8, 9}


async def test_what_callers_of_the_label_would_notice_is_part_of_the_plan(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, AT_1)
    assert [one["verdict"] for one in (await planned(world))["signatures"]] == ["unknown"]
    one = {"serving_default": Signature("predict", {"x": TensorSpec("DT_FLOAT", (-1,))}, {})}
    for number in (8, 9):
        await add(world, number, signatures=signatures_json(one))
    await world.done(await world.promote(8))
    (found,) = (await planned(world, 9))["signatures"]
    assert (found["label"], found["before"], found["after"]) == ("stable", 8, 9)
    assert found["verdict"] == "identical"


async def test_the_hash_stands_for_what_is_done_and_not_for_when(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await saw(world, AT_1)
    first = (await planned(world))["plan_hash"]
    await saw(world, replace(AT_1, at=AT_1.at + 60, reachable=False))
    assert (await planned(world))["plan_hash"] == first
    await saw(world, AT_BOTH)
    assert (await planned(world))["plan_hash"] != first
