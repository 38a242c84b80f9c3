"""`python -m bench.scale [--servers 10,100,…]`: many servers, the rows for each number of them.

Dev machines of 20 models, in one process, are shared out to 10 fleets that two replicas on one
PostgreSQL reconcile; as many more, in another process, are moved by the bare side.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.bare_calls import BareServer, BareServers, config_message
from bench.crowd import raise_file_limit
from bench.processes import make_models
from bench.stand import PATIENCE_S, REPLICAS, Crowd, Replicas, crowd_of, quiet, register, replicas
from bench.table import Row, megabytes, middle, render, seconds
from control_plane.client import calls
from control_plane.client.calls import Promotion
from control_plane.reconcile.loop import Options
from tests.databases import fresh_database, postgres_server

MODELS = 20
ROUNDS = 15  # in so many the sweep comes round once
PROMOTIONS = 5
SETTLED_S = 20.0  # after that nothing is left of what setting up began
MODEL = "m00"
MOST_BYTES = 500e6
_MARKERS = ("_cp_0123456789abcdef0123456789abcdef", "_cp_owner_0123456789abcdef_default")


@dataclass(frozen=True, slots=True)
class Steady:
    """What a round of a steady crowd takes."""

    cpu_s: list[float]  # of each replica
    calls: Mapping[str, float]
    gaps_s: list[float]  # between two probes of a server
    resident: list[int]


async def measure(home: Path, count: int) -> list[Row]:
    """Measure steady rounds and promotions of so many servers; the bare side last."""
    models = make_models(home / "models", MODELS)
    async with (
        crowd_of(home, "ours", count, home / "models") as ours,
        crowd_of(home, "bare", count, home / "models") as others,
    ):
        with postgres_server() as postgres, fresh_database(postgres) as url:
            await register(url, models, ours.servers)
            async with replicas(home, url) as control:
                await _settle(control, models, ours)
                steady = await _steady(control, ours)
                moved = await _promotions(control, (ours, others), models)
                after = control.resident
        bare_s, sent = await _bare_steady(others)
    rows = _steady_rows(count, steady, bare_s)
    say(f"calls of a round: ours {dict(steady.calls)}, bare {sent}")
    say(f"memory: steady {steady.resident}, after promotions {after}")
    return [*rows, _promotion_row(count, moved), _memory_row(count, after)]


async def _settle(control: Replicas, models: Mapping[str, Path], crowd: Crowd) -> None:
    started = time.monotonic()
    for model in models:
        await crowd.stable(model, 1)
    say(f"all is served {time.monotonic() - started:.1f} s after the start")
    await quiet(control)
    await asyncio.sleep(SETTLED_S)
    say(f"fleets led: {await control.led()}")


async def _steady(control: Replicas, crowd: Crowd) -> Steady:
    options = Options()
    await crowd.ask("calls")
    before = control.cpu_s
    await asyncio.sleep(ROUNDS * options.observe_interval_s)
    used = [b - a for a, b in zip(before, control.cpu_s, strict=True)]
    told = await crowd.ask("calls")
    sent = {name: number / ROUNDS for name, number in sorted(told["calls"].items())}
    return Steady([one / ROUNDS for one in used], sent, told["gaps_s"], control.resident)


async def _bare_steady(crowd: Crowd) -> tuple[float, Mapping[str, float]]:
    """The same calls on the same timetable: a probe of each server, and its models in turn."""
    async with BareServers(crowd.servers) as bare:
        await asyncio.gather(*(_bare_rounds(one, 1) for one in bare.each))  # connects
        await crowd.ask("calls")
        started = time.process_time()
        await asyncio.gather(*(_bare_rounds(one, ROUNDS) for one in bare.each))
        used = (time.process_time() - started) / ROUNDS
        told = await crowd.ask("calls")
    return used, {name: number / ROUNDS for name, number in sorted(told["calls"].items())}


async def _bare_rounds(server: BareServer, rounds: int) -> None:
    options, due = Options(), 0.0
    for _ in range(rounds):
        due += MODELS * options.observe_interval_s / options.sweep_s
        await server.label(MODEL, _MARKERS[0])
        while due >= 1:
            due -= 1
            await asyncio.gather(server.status(MODEL), server.label(MODEL, "stable"))
        await asyncio.sleep(options.observe_interval_s)


async def _promotions(
    control: Replicas, crowds: tuple[Crowd, Crowd], models: Mapping[str, Path]
) -> list[tuple[float, float]]:
    ours, others = crowds
    times = []
    async with BareServers(others.servers) as bare:
        await _bare_move(others, bare, models, 1)
        for number in range(PROMOTIONS + 1):
            version = 2 - number % 2
            await ours.ask("calls")
            took = await _promotion(control, ours, version)
            sent = (await ours.ask("calls"))["calls"]
            bare_s = await _bare_move(others, bare, models, version)
            say(f"promotion: ours {took:.3f} s, bare {bare_s:.3f} s, calls {sent}")
            times.append((took, bare_s))
    return times[1:]


async def _promotion(control: Replicas, crowd: Crowd, version: int) -> float:
    """Promote in every fleet at once; return how long it took until the last server had it."""
    call = Promotion(version=version, force=True)
    started = time.monotonic()
    asked = (
        control.clients[n % REPLICAS].send(calls.promote(fleet, MODEL, call))
        for n, fleet in enumerate(control.fleets)
    )
    answered = asyncio.gather(*asked)
    at = await crowd.stable(MODEL, version)
    await answered
    async with asyncio.timeout(PATIENCE_S):
        await quiet(control)
    await asyncio.sleep(2)
    return at - started


async def _bare_move(
    crowd: Crowd, bare: BareServers, models: Mapping[str, Path], version: int
) -> float:
    """Ask the version, send the config, ask the label and the marker: every server at once."""
    config = config_message(models, MODEL, version)
    started = time.monotonic()
    await asyncio.gather(*(_bare_moved(one, config, version) for one in bare.each))
    return await crowd.stable(MODEL, version) - started


async def _bare_moved(server: BareServer, config: Any, version: int) -> None:
    await server.predict(MODEL, version)
    await server.reload(config)
    await asyncio.gather(server.label(MODEL, "stable"), server.label(MODEL, _MARKERS[0]))


def _steady_rows(count: int, steady: Steady, bare_s: float) -> list[Row]:
    what, used = f"{count} servers", sum(steady.cpu_s)
    most, ratio = max(steady.cpu_s), bare_s / used
    interval_s = Options().observe_interval_s
    late = steady.gaps_s[int(len(steady.gaps_s) * 0.99)]
    return [
        Row(
            "s",
            f"{what}: a steady round, CPU time",
            seconds(used),
            seconds(bare_s),
            ratio,
            "≥ 0.7",
            ratio >= 0.7,
        ),
        Row(
            "s",
            f"{what}: of that, in the busier replica",
            seconds(most),
            seconds(interval_s),
            most / interval_s,
            "≤ 1",
            most <= interval_s,
        ),
        Row(
            "s",
            f"{what}: between two probes, 99th percentile",
            seconds(late),
            seconds(interval_s),
            late / interval_s,
        ),
    ]


def _promotion_row(count: int, times: Sequence[tuple[float, float]]) -> Row:
    ours, bare = middle([one for one, _ in times]), middle([other for _, other in times])
    what = f"{count} servers: a promotion"
    return Row("s", what, seconds(ours), seconds(bare), ours / bare, "≤ 1.5", ours <= 1.5 * bare)


def _memory_row(count: int, resident: Sequence[int]) -> Row:
    most = max(resident)
    return Row(
        "s",
        f"{count} servers: memory of a replica",
        megabytes(most),
        megabytes(MOST_BYTES),
        most / MOST_BYTES,
        "≤ 1",
        most <= MOST_BYTES,
    )


def say(text: str) -> None:
    """Tell who watches what is not in the table."""
    sys.stderr.write(f"{text}\n")


def main() -> int:
    """Measure and print; fail if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--servers", default="10,100,300,1000", help="how many, with commas")
    counts = [int(one) for one in parser.parse_args().servers.split(",")]
    raise_file_limit()
    rows: list[Row] = []
    for count in counts:
        home = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            rows += uvloop.run(measure(home, count))
        except BaseException:
            say(f"the logs are in {home}")
            raise
        shutil.rmtree(home)
    print(render(rows))
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
