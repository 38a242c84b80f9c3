"""Workers on one socket and the process that watches over them, without a control plane in them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.faults.processes import eventually

SCRIPT = """
import signal, socket, sys, time
from control_plane import workers
workers.END_S = 1.0
listener = socket.create_server(("127.0.0.1", 0))
workers.fork(2, listener)
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(60)
"""


@contextmanager
def parent(manner: str) -> Iterator[psutil.Popen]:
    process = psutil.Popen([sys.executable, "-c", SCRIPT, manner], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: workers_of(process), lambda seen: len(seen) == 2)
        yield process
    finally:
        if process.is_running():
            process.kill()
        process.wait(10)


def workers_of(process: psutil.Popen) -> set[int]:
    return {one.pid for one in process.children()}


def gone(pids: set[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_a_worker_that_ends_is_replaced_and_all_end_with_sigterm() -> None:
    with parent("polite") as process:
        first = min(workers_of(process))
        os.kill(first, signal.SIGKILL)
        seen = eventually(
            lambda: workers_of(process), lambda seen: len(seen) == 2 and first not in seen
        )
        process.terminate()
        assert process.wait(10) == 0
        assert gone(seen)


def test_workers_that_do_not_end_are_killed() -> None:
    with parent("stubborn") as process:
        workers = workers_of(process)
        process.terminate()
        assert process.wait(10) == 1
        assert gone(workers)


def test_workers_end_when_their_parent_is_killed() -> None:
    with parent("polite") as process:
        workers = workers_of(process)
        process.kill()
        eventually(lambda: gone(workers), bool)
