"""What was promoted together goes back together."""

from control_plane.domain.promotion import DeployRequest, PromoteRequest, RollbackRequest
from control_plane.services.changes import Started
from control_plane.services.deployments import put_deployment
from control_plane.services.promotion import promote_group, rollback
from tests.services.world import FLEET, World, begun


async def promoted_together(world: World) -> Started:
    for model in ("m", "other"):
        await world.done(await world.deploy({1}, model, stable=1))
    requests = [(model, PromoteRequest(version=2)) for model in ("m", "other")]
    return begun(await promote_group(world.db, FLEET, requests, world.call()))


async def back(world: World, model: str = "m", *, only: bool = False) -> Started:
    request = RollbackRequest(only=only)
    return begun(await rollback(world.db, FLEET, model, request, world.call()))


async def stable(world: World) -> dict[str, int]:
    return {model: one.labels["stable"] for model, one in (await world.heads()).items()}


async def test_rolling_one_back_rolls_back_the_group(world: World) -> None:
    await world.done(await promoted_together(world))
    rollout = await world.done(await back(world, "other"))
    assert rollout.models == ("m", "other")
    assert await stable(world) == {"m": 1, "other": 1}


async def test_only_rolls_back_one_of_them(world: World) -> None:
    await world.done(await promoted_together(world))
    await world.done(await back(world, only=True))
    assert await stable(world) == {"m": 1, "other": 2}


async def test_a_live_group_goes_back_whole(world: World) -> None:
    live = await promoted_together(world)
    await world.step(live.rollout.id)
    rollout = await world.done(await back(world))
    assert rollout.models == ("m", "other")
    assert await stable(world) == {"m": 1, "other": 1}


async def test_who_supersedes_one_of_a_live_group_takes_the_others_back(world: World) -> None:
    live = await promoted_together(world)
    await world.step(live.rollout.id)
    request = DeployRequest(frozenset({1, 3}), {"stable": 3}, supersede=True)
    put = await put_deployment(world.db, FLEET, "m", request, world.call())
    assert begun(put).rollout.models == ("m", "other")
    assert await stable(world) == {"m": 3, "other": 1}


async def test_what_was_promoted_on_its_own_since_stays(world: World) -> None:
    await world.done(await promoted_together(world))
    await world.done(await world.promote(3, "other"))
    await world.done(await back(world))
    assert await stable(world) == {"m": 1, "other": 3}


async def test_a_group_is_no_group_for_what_moved_on_its_own_later(world: World) -> None:
    await world.done(await promoted_together(world))
    await world.done(await world.promote(3, "m"))
    await world.done(await back(world))
    assert await stable(world) == {"m": 2, "other": 2}


async def test_a_member_that_cannot_go_back_does_not_stop_the_others(world: World) -> None:
    await world.done(await world.deploy({1}, stable=1))
    await world.done(await world.deploy({1}, "other"))
    requests = [(model, PromoteRequest(version=2)) for model in ("m", "other")]
    await world.done(begun(await promote_group(world.db, FLEET, requests, world.call())))
    outcome = await back(world)
    assert any(text.startswith("other was promoted together") for text in outcome.warnings)
    await world.done(outcome)
    assert await stable(world) == {"m": 1, "other": 2}
