"""How soon a write on one replica moves the leader on another, and is read from memory on all.

`python -m tests.chaos.wake_ups --writes 100` prints each figure as `goal=… value=… seed=…`. Every
other write is a promotion through a replica that does not lead, the rest go to the leader. It is
moved when it takes the rollout's first step; a label is read when a replica answers with what was
observed of it, counted from when that was written. All run on one host, so with one clock.
"""

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from control_plane.client import calls
from control_plane.domain.advance import LOOP_ACTOR
from tests.chaos.leader_kills import last_event, p99
from tests.faults.processes import eventually
from tests.faults.replica_processes import FLEET, MODEL, Replica, Stand, standing

WAKE_S, READ_S = 0.1, 1.0
REPLICAS = 3
_PAUSE_S = 0.02  # between two reads of one replica


@dataclass
class Measured:
    """Seconds, one for each write; of reads one for each replica, too."""

    woken_s: list[float] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)  # the same through the leader itself
    read_s: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The figures, as the issue wants them printed."""
        rows = (
            (f"write-elsewhere-moves-leader-p99<{WAKE_S:g}s", sorted(self.woken_s)),
            ("its-own-write-moves-it", sorted(self.own_s)),
            (f"resolve-on-every-replica-max<{READ_S:g}s", sorted(self.read_s)),
        )
        return [
            f"goal={name} value=p99={p99(took) * 1e3:.0f}ms median={median(took) * 1e3:.0f}ms"
            f" max={took[-1] * 1e3:.0f}ms n={len(took)} seed=0"
            for name, took in rows
        ]


def write(stand: Stand, through: Replica, measured: Measured, took_s: list[float]) -> None:
    """Promote, and see when the leader begins and when every replica answers with it."""
    version, seen_at = 3 - stand.server.label(), dict[str, float]()

    def read(one: Replica) -> None:
        path = f"fleets/{FLEET}/models/{MODEL}/labels/stable"
        with httpx.Client(base_url=f"http://127.0.0.1:{one.port}/api/v1/") as http:
            eventually(
                lambda: _later(http, path),
                lambda seen: (seen.get("version"), seen.get("servers_serving")) == (version, 1),
            )
        seen_at[one.name] = time.time()

    with ThreadPoolExecutor(len(stand.replicas)) as threads:
        reading = [threads.submit(read, one) for one in stand.replicas]
        rollout = stand.promote(through, version)
        stand.over(through, rollout)
        for one in reading:
            one.result()
    told = through.client.send(calls.events(after=max(0, last_event(through) - 50)))["items"]
    mine = next(one for one in told if one.get("rollout") == rollout)
    after = [one for one in told if one["seq"] > mine["seq"]]
    first = next(one for one in after if one["actor"] == LOOP_ACTOR)
    written = next(one for one in after if one["kind"] == "label.answered")
    took_s.append(_at(first) - _at(mine))
    measured.read_s += [max(at - _at(written), 0) for at in seen_at.values()]


def _later(http: httpx.Client, path: str) -> Any:
    time.sleep(_PAUSE_S)
    return http.get(path).json()


def _at(event: Any) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.wake_ups", description=__doc__)
    parser.add_argument("--writes", type=int, default=100)
    given = parser.parse_args()
    home, measured = Path(tempfile.mkdtemp(prefix="wake-ups-")), Measured()
    with standing(home, REPLICAS, {}) as stand:
        leader, follower = stand.leader(), stand.follower()
        for _ in range(given.writes):
            write(stand, leader, measured, measured.own_s)
            write(stand, follower, measured, measured.woken_s)
    shutil.rmtree(home)
    sys.stdout.write("\n".join(measured.lines()) + "\n")
    return int(p99(sorted(measured.woken_s)) >= WAKE_S or max(measured.read_s) >= READ_S)


if __name__ == "__main__":
    sys.exit(main())
