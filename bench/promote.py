"""Row c: a promotion of a loaded version, from the request to the label's answer on every server.

Against it, on servers of the same kind: the same reloads, one prediction and one look at the label
each, at once on all servers, and three durable commits.
"""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.bare_calls import BareServers, Commits, config_message
from bench.processes import (
    FLEET,
    PATIENCE_S,
    ControlPlane,
    clock_s,
    control_plane,
    dev_servers,
    make_models,
)
from bench.table import Row, middle, within
from control_plane.client import calls
from control_plane.client.calls import Promotion

MODEL = "m00"
MODELS = 2
_PROBE_S = 0.002


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table."""

    what: str
    servers: int
    rounds: int
    most: float
    extra_s: float
    predict: bool = False


SETTINGS = (
    Setting("promote: 1 server", 1, 20, 1.3, 0.020),
    Setting("promote: 2 servers that run TensorFlow", 2, 20, 1.5, 0.050, predict=True),
    Setting("promote: 20 servers", 20, 12, 1.5, 0.050),
)


async def measure(home: Path) -> list[Row]:
    """Measure each setting on servers of its own."""
    rows = []
    for number, setting in enumerate(SETTINGS):
        place = home / str(number)
        place.mkdir(parents=True)
        rows.append(await _measured(place, setting))
    return rows


async def _measured(home: Path, setting: Setting) -> Row:
    models = make_models(home / "models", MODELS)
    kind = {"count": setting.servers, "models": models, "predict": setting.predict}
    async with (
        dev_servers(home, "ours", **kind) as servers,  # type: ignore[arg-type]
        dev_servers(home, "bare", **kind) as others,  # type: ignore[arg-type]
        control_plane(home, models, servers) as ours,
        BareServers(servers) as probes,
        BareServers(others) as bare,
    ):
        pair = await _compare(setting, models, (ours, probes, bare), home)
    return within("c", setting.what, pair, setting.most, setting.extra_s)


async def _compare(
    setting: Setting,
    models: Mapping[str, Path],
    sides: tuple[ControlPlane, BareServers, BareServers],
    home: Path,
) -> tuple[float, float]:
    ours, probes, bare = sides
    times: list[tuple[float, float]] = []
    with closing(Commits(home / "bare.db")) as disk:
        await bare.move(config_message(models, MODEL, 1), MODEL, 1, disk)
        for number in range(setting.rounds + 1):
            version = 2 - number % 2
            took = await _promotion(ours, probes, version)
            config = config_message(models, MODEL, version)
            started = clock_s()
            await bare.move(config, MODEL, version, disk)
            times.append((took, clock_s() - started))
    return middle([one for one, _ in times[1:]]), middle([other for _, other in times[1:]])


async def _promotion(ours: ControlPlane, probes: BareServers, version: int) -> float:
    """Promote, and return how long it took until the label answered everywhere."""
    call = calls.promote(FLEET, MODEL, Promotion(version=version, force=True))
    started = clock_s()
    async with asyncio.timeout(PATIENCE_S):
        answered = asyncio.create_task(ours.client.send(call))
        await probes.until(MODEL, version, _PROBE_S)
        took = clock_s() - started
        rollout = (await answered)["rollout"]
        while (await ours.client.send(calls.rollout(rollout["id"])))["live"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return took
