"""A fleet of ten models goes back to before its last ten changes, in as few reloads as foretold."""

import asyncio
from collections.abc import Sequence

from control_plane.domain.promotion import DeployRequest
from control_plane.services import deployments
from control_plane.services.deployments import RestoreRequest
from control_plane.store import fleets
from tests.scenario.stage import FLEET, Resolved
from tests.scenario.test_plans import NAMES, UseCase, Wired, call, promote, undeploy, wired, words

__all__ = ["wired"]
MODELS = tuple(f"m{number}" for number in range(10))


def deploy(wired: Wired, model: str, *versions: int, keep: int) -> UseCase:
    request = DeployRequest(frozenset(versions), {"stable": 1}, keep_previous=keep)
    return lambda call: deployments.put_deployment(wired.stage.db, FLEET, model, request, call)


def restore(wired: Wired, revision: int) -> UseCase:
    request = RestoreRequest()
    return lambda call: deployments.restore(wired.stage.db, FLEET, revision, request, call)


async def carried_out(wired: Wired, changes: Sequence[UseCase]) -> int:
    """Carry changes out side by side; return the fleet's revision after them."""
    stage = wired.stage
    started = [stage._started(await change(call())) for change in changes]
    await asyncio.gather(*(stage.done(one, s=30) for one in started))
    await wired.settled()
    async with stage.db.read() as s:
        return (await fleets.fleet(s, FLEET)).head


async def ten_models(wired: Wired, *versions: int, keep: int) -> int:
    """Ten models whose version 1 is stable."""
    for model in MODELS:
        await wired.stage.model(model, 1, 2)
    return await carried_out(wired, [deploy(wired, one, *versions, keep=keep) for one in MODELS])


async def serves(wired: Wired, *also: str) -> None:
    """Every model's `stable` is on version 1 everywhere; `also` are the states of version 2."""
    for server in NAMES:
        for model in MODELS:
            assert await wired.stage.label(server, model) == Resolved(1)
            seen = await wired.stage.states(server, model)
            assert (seen.pop(1), set(seen.values()) <= set(also)) == ("AVAILABLE", True)


async def test_where_all_is_warm_a_fleet_is_restored_by_one_reload_per_server(wired: Wired) -> None:
    revision = await ten_models(wired, 1, 2, keep=1)
    await carried_out(wired, [promote(wired.stage, model, 2) for model in MODELS])
    plan = await wired.foretold(restore(wired, revision))
    moves = "; ".join(f"{model}: stable → 1" for model in MODELS)
    assert [words(plan, server) for server in NAMES] == [[moves]] * 2
    assert all(one["warm"] for one in plan["reloads"])
    await serves(wired, "AVAILABLE")


async def test_else_by_three_however_short_a_time_ago_what_it_needs_was_dropped(
    wired: Wired,
) -> None:
    revision = await ten_models(wired, 1, keep=0)
    promotions = [promote(wired.stage, model, 2) for model in MODELS[:9]]
    await carried_out(wired, [*promotions, undeploy(wired.stage, MODELS[9])])
    plan = await wired.foretold(restore(wired, revision))
    loads = "; ".join([*(f"load {model} 1" for model in MODELS[:9]), "add m9 1"])
    moves = "; ".join(f"{model}: stable → 1" for model in MODELS)
    drops = "; ".join(f"drop {model} 2" for model in MODELS[:9])
    assert [words(plan, server) for server in NAMES] == [[loads, moves, drops]] * 2
    await serves(wired, "END")
