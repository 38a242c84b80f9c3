"""kill -9 at every failpoint: nothing that was acknowledged is lost, and all goes on.

`python -m tests.chaos.kills --runs 20 --store sqlite` prints `goal=… value=… seed=…`; `--only`
names a failpoint, and with its seed a run of it makes the same choices again.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from control_plane.failpoints import NAMES
from tests.chaos.check_hooks import check_hooks
from tests.chaos.checker import check
from tests.chaos.history import read
from tests.chaos.kill_plays import ON_POSTGRESQL_ALONE, PLAYS, pass_of, plays_of
from tests.chaos.kill_stand import Stand, chance_of, standing
from tests.databases import fresh_database, postgres_server, sqlite_url
from tests.faults.processes import Zygote, running_zygote


@dataclass(frozen=True)
class Kill:
    """One kill: at which failpoint, in which play, on which pass, and by what instead of a kill."""

    name: str
    play: str
    nth: int
    does: str = "die"

    def __str__(self) -> str:
        return f"{self.name}={self.does}@{self.nth} in {self.play}"


@dataclass
class Result:
    """What came of kills."""

    kills: Counter[str] = field(default_factory=Counter)  # by failpoint: those that happened
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Result") -> None:
        self.kills.update(other.kills)
        self.wrong += other.wrong


def kills_of(name: str, runs: int, seed: int, does: str = "die") -> list[Kill]:
    """The kills of a failpoint: its plays in turn, each on some pass."""
    chance, plays = chance_of(seed, name), plays_of(name)
    first = chance.randrange(len(plays))
    return [
        Kill(name, plays[(first + number) % len(plays)], pass_of(name, chance), does)
        for number in range(runs)
    ]


def killed(stand: Stand, kill: Kill) -> bool:
    """Play with an armed process, go on without it, and wait until all is as it should be.

    False: the play was over before the failpoint was passed so many times.
    """
    play = PLAYS[kill.play]
    stand.revive()
    given = play.prepare(stand)
    stand.pen.write("nemesis", "fault.on", fault=str(kill), target="main")
    stand.control.end()
    stand.control.log.write_bytes(b"")
    stand.control.start(f"{kill.name}={kill.does}@{kill.nth}")
    play.act(stand, given)
    ends_at = time.monotonic() + play.linger_s
    while not stand.control.passed(kill.name) and time.monotonic() < ends_at:
        time.sleep(0.01)
    happened = stand.control.passed(kill.name)
    stand.settle()
    stand.ask_again()
    stand.beside.end()
    stand.pen.write("nemesis", "fault.off", fault=str(kill), target="main")
    return happened


def suffered(stand: Stand, kills: Sequence[Kill], told: Callable[[str], None]) -> Result:
    """Go through kills one after the other on one stand, and check its history at the end."""
    result = Result()
    for kill in kills:
        began = time.monotonic()
        try:
            happened = any(killed(stand, one) for one in (kill, replace(kill, nth=1)))
        except AssertionError as error:
            result.wrong.append(f"{kill}: {error}")
            told(result.wrong[-1])
            return result
        if happened:
            result.kills[kill.name] += 1
        else:
            result.wrong.append(f"{kill}: never passed")
        told(f"{kill} {time.monotonic() - began:.1f}s" + ("" if happened else " NEVER"))
    history = read(stand.finish())
    result.wrong += [str(one) for one in (*check(history), *check_hooks(history))]
    return result


@contextmanager
def databases(store: str, folder: Path) -> Iterator[Callable[[Path], AbstractContextManager[str]]]:
    """What makes a database for a stand's own folder."""
    if store == "sqlite":
        sqlite_url(folder)  # migrations are no work for several threads; the others are copies
        yield lambda home: nullcontext(sqlite_url(home))
        return
    with postgres_server() as postgres:
        yield lambda _: fresh_database(postgres)


def told(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def measured(
    zygote: Zygote, store: str, groups: Sequence[Sequence[Kill]], jobs: int, folder: Path
) -> Result:
    """Go through each group of kills on a stand of its own, some side by side."""
    result = Result()
    with databases(store, folder) as database, ThreadPoolExecutor(jobs) as threads:

        def one(number: int, kills: Sequence[Kill]) -> Result:
            home = folder / f"{store}-{number}"
            home.mkdir()
            try:
                with database(home) as url, standing(zygote, home, url) as stand:
                    found = suffered(stand, kills, told)
            except AssertionError as error:
                found = Result(wrong=[f"{kills[0].name}: {error}"])
            if found.wrong:
                told(f"{'; '.join(found.wrong)}; the logs are in {home}")
            else:
                shutil.rmtree(home)
            return found

        for found in threads.map(one, range(len(groups)), groups):
            result.add(found)
    return result


def names_for(store: str) -> tuple[str, ...]:
    """The failpoints that are passed with this database."""
    return NAMES if store == "postgres" else tuple(n for n in NAMES if n not in ON_POSTGRESQL_ALONE)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="kills at each failpoint")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--only", choices=NAMES, action="append", help="failpoints; else all")
    parser.add_argument(
        "--play", choices=PLAYS, help="in this play alone; else in all that pass it"
    )
    parser.add_argument("--does", choices=("die", "raise", "sleep:1"), default="die")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="stands side by side")
    given = parser.parse_args()
    names = given.only or names_for(given.store)
    groups = [kills_of(name, given.runs, given.seed, given.does) for name in names]
    if given.play:
        groups = [[replace(kill, play=given.play) for kill in kills] for kills in groups]
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    with running_zygote() as zygote:
        result = measured(zygote, given.store, groups, given.jobs, folder)
    for one in result.wrong:
        told(one)
    value = f"{len(result.wrong)}-wrong-in-{result.kills.total()}-kills-at-{len(result.kills)}"
    sys.stdout.write(f"goal=G1-{given.store} value={value} seed={given.seed}\n")
    return int(bool(result.wrong))


if __name__ == "__main__":
    sys.exit(main())
