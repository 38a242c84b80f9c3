"""After a rollback nothing automatic promotes the version again, until a person resumes."""

from dataclasses import replace

import pytest

from control_plane.domain.errors import Held
from control_plane.domain.events import EventKind
from control_plane.domain.promotion import DeployRequest, PromoteRequest
from control_plane.domain.revision import Latest
from control_plane.domain.rollout import Phase
from control_plane.services import holds
from control_plane.services.changes import Call, Outcome, Planned, Started
from control_plane.services.commit import nothing_more
from control_plane.services.deployments import follow_policy, put_deployment
from control_plane.services.promotion import promote
from tests.services.world import FAILED, FLEET, REACHED, World, begun

WHERE = (FLEET, "m", "stable")


def service(world: World, *, dry_run: bool = False) -> Call:
    return replace(world.call(dry_run=dry_run), actor="ci", automatic=True)


async def by_service(world: World, version: int, label: str = "stable") -> Outcome:
    request = PromoteRequest(label, version)
    return await promote(world.db, FLEET, "m", request, service(world))


async def rolled_back_from_2(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.promote(2))
    await world.done(await world.rollback())


async def held(world: World) -> list[int]:
    return [one["version"] for one in await holds.listed(world.db, FLEET, "m")]


async def resume(world: World, version: int | None = None) -> None:
    await holds.resume(world.db, WHERE, version, world.call("mended").writer, nothing_more)


async def test_a_service_may_not_promote_what_was_rolled_back_from(world: World) -> None:
    await rolled_back_from_2(world)
    assert await held(world) == [2]
    with pytest.raises(Held) as refused:
        await by_service(world, 2)
    assert refused.value.details["holds"] == [{"model": "m", "label": "stable", "version": 2}]
    put = DeployRequest(frozenset({2}), {"stable": 2})
    with pytest.raises(Held):
        await put_deployment(world.db, FLEET, "m", put, service(world))
    asked = PromoteRequest("stable", 2)
    with pytest.raises(Held):
        await promote(world.db, FLEET, "m", asked, service(world, dry_run=True))
    await world.done(begun(await by_service(world, 3)))


async def test_after_a_person_resumed_it_a_service_may(world: World) -> None:
    await rolled_back_from_2(world)
    with pytest.raises(Held):
        await holds.resume(world.db, WHERE, None, service(world).writer, nothing_more)
    await resume(world)
    assert await held(world) == []
    (event,) = await world.events(EventKind.HOLD_RESUMED)
    assert (event.actor, event.reason, event.data["version"]) == ("ada", "mended", 2)
    await world.done(begun(await by_service(world, 2)))


async def test_resuming_one_version_leaves_the_others_held(world: World) -> None:
    await rolled_back_from_2(world)
    await world.done(await world.promote(3))
    await world.done(await world.rollback())
    assert await held(world) == [3, 2]
    await resume(world, 3)
    assert await held(world) == [2]


async def test_a_person_who_promotes_it_resumes_it(world: World) -> None:
    await rolled_back_from_2(world)
    request = PromoteRequest("stable", 2)
    rehearsal = await promote(world.db, FLEET, "m", request, world.call(dry_run=True))
    assert isinstance(rehearsal, Planned)
    assert await held(world) == [2]
    await world.done(await world.promote(2))
    assert await held(world) == []
    await world.done(await world.rollback())
    assert await held(world) == [2]


async def test_what_failed_after_its_label_had_moved_is_held_too(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    live = await world.promote(2)
    await world.step(live.rollout.id)
    rollout = await world.finish(live, {"a": REACHED, "b": FAILED})
    assert rollout.phase is Phase.ROLLED_BACK, rollout
    assert await held(world) == [2]


async def test_what_was_never_verified_is_held_when_somebody_rolls_it_back(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.promote(2)
    await world.done(await world.rollback(to_version=1))
    assert await held(world) == [2]


async def test_a_policy_loads_what_was_rolled_back_from_only_when_it_is_resumed(
    world: World,
) -> None:
    policy = Latest(1, auto_load=True)
    request = DeployRequest(frozenset({1, 4}), {"stable": 1}, policy=policy)
    await world.done(begun(await put_deployment(world.db, FLEET, "m", request, world.call())))
    await world.done(await world.promote(4))
    await world.done(await world.rollback())
    call = service(world)
    await _follow(world, call)
    assert 4 not in (await world.head()).versions
    await resume(world)
    await _follow(world, service(world))
    assert 4 in (await world.head()).versions


async def _follow(world: World, call: Call) -> None:
    outcome = await follow_policy(world.db, FLEET, "m", call)
    if isinstance(outcome, Started):
        await world.done(outcome)
