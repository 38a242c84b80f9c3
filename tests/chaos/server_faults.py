"""Server after server is hurt and healed: how soon is the fleet as it should be again?

`python -m tests.chaos.server_faults --faults 1000` prints the figure as `goal=… value=… seed=…`. A
fault kills, freezes, cuts off or half-opens a server, or pushes a foreign config to it; half of the
time a promotion begins meanwhile. The time runs from the end of the fault until every server
answers as the deployments say and every replica calls them converged.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.chaos.figures import machine, spread
from tests.chaos.ground import (
    FLEET,
    GOOD,
    LABEL,
    MODELS,
    Ground,
    Setup,
    api_of,
    standing,
    until_converged,
)
from tests.chaos.nemeses import Nemesis

GOAL_S = 5.0


async def measure(setup: Setup, faults: int, home: Path) -> list[float]:
    """Return how long each recovery took, in seconds."""
    chance = random.Random(f"{setup.seed} promotions")
    took: list[float] = []
    async with standing(setup, home) as ground, ground.http(30) as http:
        nemesis = Nemesis(ground, 0, set(), lambda: False)
        while len(took) < faults:
            before = nemesis.count
            hurt = asyncio.create_task(nemesis.one_of_servers())
            promotes = chance.random() < 0.5
            if promotes:
                await _promoted(http, ground, chance)
            await hurt
            began = time.monotonic()
            await until_converged(http, ground)
            if nemesis.count > before:
                took.append(time.monotonic() - began)
                beside = ", beside a promotion" if promotes else ""
                told = f"{took[-1]:.2f}s {nemesis.last}{beside}"
                sys.stderr.write(f"{len(took)}/{faults} {told}\n")
    return took


async def _promoted(http: httpx.AsyncClient, ground: Ground, chance: random.Random) -> None:
    model, version = chance.choice(MODELS), chance.choice(GOOD)
    url = f"{api_of(ground.replicas[0])}/fleets/{FLEET}/deployments/{model}:promote"
    answer = await http.post(url, json={"version": version, "label": LABEL, "force": True})
    assert answer.is_success, answer.text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.server_faults")
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    given = parser.parse_args()
    setup = Setup(seed=given.seed, store=given.store)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as home:
        took = asyncio.run(measure(setup, given.faults, Path(home)))
    name = f"goal=converged-after-server-fault-p99<{GOAL_S:g}s"
    sys.stdout.write(f"{name} value={spread(took)} seed={setup.seed}\n{machine()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
