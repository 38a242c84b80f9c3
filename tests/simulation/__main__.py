"""`python -m tests.simulation --hours 10 --seed 1`: the real control plane in virtual time.

Every seed is a run of its own: an hour of storms and quiet spells, in which servers, replicas and
the database fail and people ask for things. Exits with 1 at the first seed whose run broke a
promise, and prints the command that replays it.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation.ground import Setup

_HASH_SEED = "PYTHONHASHSEED"
_RARELY = 200_000


def main() -> int:
    given = _arguments()
    if os.environ.get(_HASH_SEED) != "0":  # the order of sets of names is to be the same, too
        again = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {_HASH_SEED: "0"})
    gc.set_threshold(_RARELY)  # most of what is made lives as long as the run
    began, hours, seed = time.monotonic(), 0.0, given.seed
    broken: tuple[str, ...] = ()
    while hours < given.hours - 1e-6 and not broken:
        setup = Setup(
            seed, min(given.hours_each, given.hours - hours), given.servers, given.replicas
        )
        verdict = _played(setup, given)
        hours, broken, seed = hours + verdict[0], verdict[1], seed + 1
    sys.stdout.write(f"goal=simulated_hours value={hours:.2f} seed={given.seed}..{seed - 1}\n")
    sys.stdout.write(f"goal=simulated_violations value={len(broken)} seed={seed - 1}\n")
    took_s = time.monotonic() - began
    sys.stdout.write(f"{took_s:.0f} s, {hours * 3600 / took_s:.0f} times as fast as time\n")
    return int(bool(broken))


def _played(setup: Setup, given: argparse.Namespace) -> tuple[float, tuple[str, ...]]:
    from tests.databases import sqlite_url
    from tests.simulation.play import play

    with tempfile.TemporaryDirectory(prefix="simulation-", dir=_memory()) as folder:
        sqlite_url(Path(folder))
        verdict = play(setup, Path(folder))
    if given.keep:
        lines = (json.dumps(one) + "\n" for one in verdict.history)
        given.keep.write_text("".join(lines))
    told = {
        name: verdict.counts[name] for name in ("storms", "fault.on", "rollouts", "reload.began")
    }
    sys.stdout.write(
        f"seed={setup.seed} hours={verdict.hours:.2f} violations={len(verdict.broken)}"
        f" history={verdict.digest} slowest_s={verdict.slowest_s:.0f}"
        f" {' '.join(f'{k}={v}' for k, v in told.items())}\n"
    )
    for one in verdict.broken[:20]:
        sys.stdout.write(f"violation: {one}\n")
    if verdict.broken:
        sys.stdout.write(f"again: python -m tests.simulation {_again(setup)}\n")
    sys.stdout.flush()
    return verdict.hours, verdict.broken


def _again(setup: Setup) -> str:
    return (
        f"--seed {setup.seed} --hours {setup.hours:g} --hours-each {setup.hours:g}"
        f" --servers {setup.servers} --replicas {setup.replicas}"
    )


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--hours", type=float, default=1.0, help="simulated, of all seeds together")
    parser.add_argument("--hours-each", type=float, default=1.0, help="of one seed at most")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="file for the history of the last seed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
