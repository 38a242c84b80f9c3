"""Row w: a warm rollback, from the request until the label answers as before on every server.

Against it, on servers of the same kind: the same reload and one look at the label each, at once on
all servers. What was rolled back from is dropped, so between two rounds it is loaded and promoted
again, which is not counted.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from bench.bare_calls import BareServer, BareServers, config_message
from bench.processes import (
    FLEET,
    PATIENCE_S,
    VERSIONS,
    ControlPlane,
    clock_s,
    control_plane,
    dev_servers,
    make_models,
)
from bench.table import Row, middle, within
from control_plane.client import Call, calls
from control_plane.client.answers import Started
from control_plane.client.calls import Promotion, Rollback

MODEL = "m00"
MODELS = 2
SERVERS = 20
ROUNDS = 10
MOST, EXTRA_S = 1.5, 0.100
_PROBE_S = 0.002
_OLD, _NEW = VERSIONS


async def measure(home: Path) -> list[Row]:
    """Take turns: one rollback of ours, one bare reload back."""
    models = make_models(home / "models", MODELS)
    async with (
        dev_servers(home, "ours", SERVERS, models) as servers,
        dev_servers(home, "bare", SERVERS, models) as others,
        control_plane(home, models, servers) as ours,
        BareServers(servers) as probes,
        BareServers(others) as bare,
    ):
        times = [await _turn(ours, probes, bare, models) for _ in range(ROUNDS + 1)][1:]
    pair = middle([took for took, _ in times]), middle([other for _, other in times])
    return [within("w", f"warm rollback: {SERVERS} servers", pair, MOST, EXTRA_S)]


async def _turn(
    ours: ControlPlane, probes: BareServers, bare: BareServers, models: Mapping[str, Path]
) -> tuple[float, float]:
    async with asyncio.timeout(PATIENCE_S):
        await _over(ours, await ours.client.send(_promotion()))
        took_s = await _rolled_back(ours, probes)
        await _flipped(bare, models, _NEW)
        began = clock_s()
        await _flipped(bare, models, _OLD)
        return took_s, clock_s() - began


def _promotion() -> Call[Started]:
    return calls.promote(FLEET, MODEL, Promotion(version=_NEW, force=True))


async def _rolled_back(ours: ControlPlane, probes: BareServers) -> float:
    """Roll back, and return how long it took until the label answered everywhere."""
    began = clock_s()
    answered = asyncio.create_task(ours.client.send(calls.roll_back(FLEET, MODEL, Rollback())))
    await probes.until(MODEL, _OLD, _PROBE_S)
    took_s = clock_s() - began
    await _over(ours, await answered)
    return took_s


async def _over(ours: ControlPlane, change: Started) -> None:
    """Wait until a change's rollout has succeeded, what it dropped being gone."""
    rollout = change["rollout"]
    while rollout["live"]:
        await asyncio.sleep(0.1)
        rollout = await ours.client.send(calls.rollout(rollout["id"]))
    if rollout["phase"] != "succeeded":
        raise ValueError(rollout["sentence"])


async def _flipped(bare: BareServers, models: Mapping[str, Path], version: int) -> None:
    config = config_message(models, MODEL, version)

    async def one(server: BareServer) -> None:
        await server.reload(config)
        if await server.label(MODEL, "stable") != version:
            raise ValueError(f"the label does not answer with {version}")

    await asyncio.gather(*(one(server) for server in bare.each))
