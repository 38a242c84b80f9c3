"""Rows d and e: 20 servers of 50 models: a whole sweep, the CPU time of steady rounds, the memory.

The sweep is forced in this process, with the loop as it is, against a bare loop that asks for the
same statuses and labels with as many calls under way. CPU time and memory are those of
`tfsctl serve`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path

from bench.bare_calls import BareServers
from bench.processes import (
    FLEET,
    ControlPlane,
    DevServer,
    clock_s,
    control_plane,
    cpu_s,
    dev_servers,
    make_models,
)
from bench.table import Row, faster, middle, seconds, smaller
from control_plane import telemetry
from control_plane.bootstrap import clock
from control_plane.reconcile.loop import Options, Reconciler
from control_plane.serving.client import GrpcModelServer
from control_plane.store.database import Database

SERVERS, MODELS = 20, 50
ROUNDS = 7
STEADY_ROUNDS = 10
MOST_BYTES = 150e6


async def measure(home: Path) -> list[Row]:
    """Measure the steady process first, then its loop alone."""
    telemetry.configure_logging("error", "json")
    models = make_models(home / "models", MODELS)
    async with dev_servers(home, "dev", SERVERS, models) as servers, BareServers(servers) as bare:
        async with control_plane(home, models, servers) as ours:
            rows = [await _steady(ours, bare, list(models)), _memory(ours)]
            database = ours.database
        async with _loop(database, servers) as loop:
            return [await _sweep(loop, bare, list(models)), *rows]


async def _sweep(loop: Reconciler, bare: BareServers, models: Sequence[str]) -> Row:
    times = []
    for _ in range(ROUNDS + 1):
        started = clock_s()
        await loop.sweep(FLEET)
        took = clock_s() - started
        started = clock_s()
        found = await bare.sweep(models)
        times.append((took, clock_s() - started))
        if found != len(bare.each) * len(models) * 2:
            raise ValueError(f"{found} versions are AVAILABLE")
    pair = middle([ours for ours, _ in times[1:]]), middle([other for _, other in times[1:]])
    return faster("d", f"sweep: {SERVERS} servers × {MODELS} models", pair, 0.7)


async def _steady(ours: ControlPlane, bare: BareServers, models: Sequence[str]) -> Row:
    """CPU seconds of a round: every marker, and of each server the models whose turn it is."""
    options = Options()
    used = cpu_s(ours.process)
    await asyncio.sleep(STEADY_ROUNDS * options.observe_interval_s)
    used = (cpu_s(ours.process) - used) / STEADY_ROUNDS
    some = models[: ceil(len(models) * options.observe_interval_s / options.sweep_s)]
    started = time.process_time()
    for _ in range(STEADY_ROUNDS):
        await asyncio.gather(*(server.label(models[0], "stable") for server in bare.each))
        await bare.sweep(some)
    other = (time.process_time() - started) / STEADY_ROUNDS
    what = "steady: CPU time of a round"
    return Row("d", what, seconds(used), seconds(other), other / used)


def _memory(ours: ControlPlane) -> Row:
    resident = float(ours.process.memory_info().rss)
    return smaller("e", "control plane: memory, of what it may be", (resident, MOST_BYTES), 1)


@asynccontextmanager
async def _loop(database: Path, servers: Sequence[DevServer]) -> AsyncIterator[Reconciler]:
    """Run the loop alone on a database whose servers have converged."""
    db = Database.open(f"sqlite:///{database}")
    loop = Reconciler(db, GrpcModelServer, clock, Options(holder="bench"))
    await loop.start()
    try:
        while not _all_seen(loop, servers):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        yield loop
    finally:
        await loop.stop()
        await db.close()


def _all_seen(loop: Reconciler, servers: Sequence[DevServer]) -> bool:
    view: Mapping[str, object] = loop.view(FLEET)
    return all(str(getattr(view.get(one.name), "status", "")) == "ready" for one in servers)
