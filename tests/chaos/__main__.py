"""`python -m tests.chaos --seed 1`: a fleet under fire, and whether it kept its word.

Starts dev servers, replicas and a database, lets clients promote and roll back while nemeses kill,
freeze, cut off and lie, heals everything, waits until the fleet has converged, and proves the
invariants from the history. Exits with 1 if one was broken or the fleet did not converge.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.clients import Client
from tests.chaos.figures import figures, machine
from tests.chaos.ground import Ground, Setup, standing, unsettled, until_converged, until_ready
from tests.chaos.history import read
from tests.chaos.nemeses import AT_A_TIME, Nemesis
from tests.chaos.watchers import Predictor, Watcher, journal

_LOOK_ON_S = 0.5  # after convergence: what comes back would be seen


async def play(setup: Setup, home: Path) -> None:
    """One run, from the first process to the last line of its history."""
    async with standing(setup, home) as ground:
        hurt_until = time.monotonic() + setup.seconds
        stop = asyncio.Event()

        def calm() -> bool:
            return time.monotonic() > hurt_until

        async with asyncio.TaskGroup() as onlookers:
            for replica in ground.replicas:
                onlookers.create_task(Watcher(ground, replica, stop.is_set).run())
            for server in ground.servers:
                onlookers.create_task(Predictor(ground, server, stop.is_set).run())
            await _hurt(ground, calm)
            await _healed(ground)
            stop.set()


async def _hurt(ground: Ground, calm: Callable[[], bool]) -> None:
    async with asyncio.TaskGroup() as actors:
        taken: set[str] = set()
        for number in range(0 if ground.setup.calm else AT_A_TIME):
            actors.create_task(Nemesis(ground, number, taken, calm).run())
        for number in range(ground.setup.clients):
            actors.create_task(Client(ground, number, calm).run())


async def _healed(ground: Ground) -> None:
    """Wait for convergence, write down the journal, and end the replicas politely."""
    began = time.monotonic()
    ground.pen.write("runner", "healed")
    async with ground.http() as http:
        try:
            await until_ready(http, ground.replicas)
            await until_converged(http, ground)
            took_s = time.monotonic() - began
            ground.pen.write("runner", "converged", took_s=took_s)
        except TimeoutError:
            ground.pen.write("runner", "unsettled", what=await unsettled(http, ground))
        await asyncio.sleep(_LOOK_ON_S)
        await journal(http, ground)
    ground.pen.write("runner", "end")
    took = await asyncio.gather(*(asyncio.to_thread(one.process.end) for one in ground.replicas))
    ground.pen.write("runner", "ended", took_s=max(took))


def report(setup: Setup, home: Path) -> bool:
    """Check a history, print what was found, and say whether all is well."""
    history = read(sorted(home.glob("*.jsonl")))
    found = check(history)
    for one in found[:20]:
        sys.stdout.write(f"violation: {one}\n")
    unsettled_at_the_end = [one["what"] for one in history if one["kind"] == "unsettled"]
    for what in unsettled_at_the_end:
        sys.stdout.write(f"not converged: {what}\n")
    sys.stdout.writelines(f"{line}\n" for line in figures(setup, history, found))
    sys.stdout.write(machine() + "\n")
    return not found and not unsettled_at_the_end


def _arguments() -> tuple[Setup, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=45.0, help="of faults")
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=0, help="1 on SQLite, 3 on PostgreSQL")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--rate", type=float, default=40.0, help="predictions a second")
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--calm", action="store_true", help="no faults: promotions under load")
    parser.add_argument(
        "--keep", type=Path, help="folder for history and logs; a bad run has one anyway"
    )
    given = vars(parser.parse_args())
    keep = given.pop("keep")
    most = 3 if given["store"] == "postgres" else 1
    if given["replicas"] > 1 and most == 1:
        parser.error("SQLite is for one replica")
    return Setup(**{**given, "replicas": given["replicas"] or most}), keep


def _folder(setup: Setup) -> Path:
    return Path(tempfile.gettempdir()) / f"chaos-{setup.store}-{setup.seed}"


def _keep(home: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home, folder, ignore=_sockets)
    sys.stdout.write(f"history and logs: {folder}\nagain: {_again()}\n")


def main() -> int:
    setup, keep = _arguments()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        good = False
        try:
            asyncio.run(play(setup, home))
            good = report(setup, home)
        finally:
            if keep is not None or not good:
                _keep(home, keep or _folder(setup))
    return int(not good)


def _again() -> str:
    return " ".join(["python", "-m", "tests.chaos", *sys.argv[1:]])


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


if __name__ == "__main__":
    sys.exit(main())
