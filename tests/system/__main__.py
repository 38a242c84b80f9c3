"""`make system`: the shipped stack on this machine, each part of it killed in turn.

As root, on Debian: installs nginx and PostgreSQL, starts nginx, two replicas, PostgreSQL and two
dev servers, promotes through nginx all the while, and prints failed predictions and lost
acknowledgements. Elsewhere it says why it does nothing. Exits with 1 if something was lost.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.system import parts
from tests.system.callers import (
    API,
    FLEET,
    LABEL,
    MODEL,
    Caller,
    Follower,
    ModelCaller,
    Promoter,
    Resolver,
    through_nginx,
)
from tests.system.parts import Part, Stack, until

_DOWN_S = 1.0  # as systemd and supervisor wait before they start it again
_QUIET_S = 4.0


@contextmanager
def running(home: Path) -> Iterator[Stack]:
    """Run the stack while the block does, both versions loaded and the label on the first."""
    stack = parts.made(home)
    try:
        for one in stack.parts:
            one.back()
        with through_nginx(stack) as http:
            _set_up(http, stack)
        yield stack
    finally:
        for one in reversed(stack.parts):
            one.kill()


def _set_up(http: httpx.Client, stack: Stack) -> None:
    _sent(http, "/api/v1/models", {"name": MODEL, "base_path": str(stack.models)})
    _sent(http, f"/api/v1/models/{MODEL}/versions:scan", {})
    booted = http.patch(API, json={"boot_config_dir": str(stack.home / "boot")})
    assert booted.is_success, booted.text
    flags = {"max_num_load_retries": 0, "num_load_threads": 4}
    flags |= {"allow_version_labels_for_unavailable_models": True}
    for one in stack.servers:
        spec = {"address": f"127.0.0.1:{one.port}", "name": one.name, "take_over": True}
        _sent(http, f"{API}/servers", {**spec, "flags": flags})
    wanted = {"versions": [1, 2], "labels": {LABEL: 1}, "force": True}
    http.put(f"{API}/deployments/{MODEL}", json=wanted).raise_for_status()
    until(lambda: converged(http), "the first deployment is never true")


def _sent(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path, json=body)
    assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"


def converged(http: httpx.Client) -> bool:
    """Whether the fleet serves what it should, and nothing is under way."""
    try:
        answer = http.get(f"{API}/deployments/{MODEL}")
    except httpx.HTTPError:
        return False
    if not answer.is_success:
        return False
    told = answer.json()
    return bool(told["rollout"] is None and told["status"]["phase"] == "converged")


def hurt(stack: Stack, rounds: int) -> None:
    """Kill each part in turn; it comes back, and the fleet is whole before the next one goes."""
    with through_nginx(stack, timeout_s=5.0) as http:
        for number in range(rounds):
            for one in _in_turn(stack):
                _kill(one)
                time.sleep(_QUIET_S)
                until(lambda: _whole(http, stack), f"not whole after {one.name}")
                sys.stderr.write(f"{number + 1}/{rounds} {one.name} was killed and came back\n")


def _in_turn(stack: Stack) -> Sequence[Part]:
    first, second = stack.servers
    return (*stack.replicas, first, stack.database, second, stack.nginx)


def _kill(one: Part) -> None:
    one.kill()
    time.sleep(_DOWN_S)
    one.back()


def _whole(http: httpx.Client, stack: Stack) -> bool:
    """Whether both servers answer to the label, by what the control plane saw of them."""
    try:
        told = [http.get(f"{API}/servers/{one.name}/ready") for one in stack.servers]
    except httpx.HTTPError:
        return False
    return all(one.is_success for one in told)


def play(stack: Stack, rounds: int) -> bool:
    """Use the stack while it is hurt, print what became of it, and say whether all was kept."""
    told_to_end = threading.Event()
    callers = ModelCaller(stack, told_to_end), Resolver(stack, told_to_end)
    promoter, follower = Promoter(stack, told_to_end), Follower(stack, told_to_end)
    everybody: list[Caller] = [*callers, promoter, follower]
    for one in everybody:
        one.start()
    try:
        hurt(stack, rounds)
    finally:
        told_to_end.set()
    for one in everybody:
        one.finish()
    with through_nginx(stack) as http:
        until(lambda: converged(http), "the fleet does not converge in the end")
        lost = promoter.lost(lambda path: _read(http, path))
        gaps = _gaps(follower.seen)
    _tell(callers, promoter, follower)
    print(f"goal=failed-predictions=0 value={callers[0].failures.total()}")
    print(f"goal=lost-acknowledgements=0 value={len(lost)} of={len(promoter.acknowledged)}")
    print(f"goal=gaps-in-the-event-stream=0 value={gaps} of={len(follower.seen)}")
    return not (callers[0].failures or lost or gaps or not promoter.acknowledged)


def _read(http: httpx.Client, path: str) -> Any:
    answer = http.get(path)
    return answer.json() if answer.is_success else None


def _gaps(seen: Sequence[int]) -> int:
    return sum(1 for before, after in pairwise(seen) if after != before + 1)


def _tell(callers: tuple[ModelCaller, Resolver], promoter: Promoter, follower: Follower) -> None:
    direct, http = callers
    print(
        f"predictions by label {LABEL}, of the servers: {dict(direct.answered)} answered by version"
    )
    print(f"  asked of the other server, as the first was away: {direct.second_tries}")
    print(f"  failed: {dict(direct.failures)}")
    print(
        f"resolved through nginx: {http.answered}, {http.from_memory} while the database was away"
    )
    print(f"  not answered: {dict(http.unanswered)}")
    print(f"promotions acknowledged: {len(promoter.acknowledged)}, ended {dict(promoter.phases)}")
    print(
        f"  sent again under the same key: {promoter.sent_again}, refused {dict(promoter.refused)}"
    )
    print(f"events of {FLEET} followed: {len(follower.seen)}, over {follower.streams} streams")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="how often each part is killed")
    given = parser.parse_args()
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("skipped: this installs nginx and PostgreSQL, as root on Debian")
        return 0
    parts.install()
    home = Path(tempfile.mkdtemp(prefix="system-"))
    with running(home) as stack:
        kept = play(stack, given.rounds)
    if kept:
        shutil.rmtree(home)
    else:
        sys.stderr.write(f"the logs are in {home}\n")
    return int(not kept)


if __name__ == "__main__":
    raise SystemExit(main())
