"""Several processes on one listening socket: forked from one that starts them again and ends them.

The parent does nothing else, so that a fork of it is a clean beginning. Whoever accepts first
answers; one that is frozen or dead holds up no connection of the others.
"""

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

END_S: Final = 5.0  # a worker that is told to end is gone by then
SHORT_S: Final = 1.0  # who lives no longer than this is not started again at once
_PR_SET_PDEATHSIG: Final = 1
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHED: Final = (*_ENDS, signal.SIGCHLD, signal.SIGALRM)
log = structlog.get_logger()


def fork(count: int, listener: socket.socket) -> None:
    """Return in each of `count` workers; the parent exits when it was told to end, after them.

    A worker that ends otherwise is started again. Workers end when their parent does, however.
    """
    pid = os.getpid()
    with _signals_waiting():
        alive = {}
        for _ in range(count):
            if not (child := os.fork()):
                break
            alive[child] = time.monotonic()
        else:
            _supervise(alive, listener)
    _become_worker(pid)


def end_parent() -> None:
    """Have the parent of this worker end all of them."""
    os.kill(os.getppid(), signal.SIGTERM)


def _supervise(alive: dict[int, float], listener: socket.socket) -> None:
    """Start workers again until told to end; returns in a new worker only."""
    while True:
        got = signal.sigwait(_WATCHED)
        if got in _ENDS:
            listener.close()
            _end(alive)
        for pid, code in _ended():
            lived_s = time.monotonic() - alive.pop(pid)
            log.warning("a worker ended; another one starts", worker=pid, code=code)
            if lived_s < SHORT_S:
                time.sleep(SHORT_S)
            if not (child := os.fork()):
                return
            alive[child] = time.monotonic()


def _end(alive: dict[int, float]) -> None:
    """Tell the workers to end, kill those that do not, and exit."""
    for pid in alive:
        os.kill(pid, signal.SIGTERM)
    signal.setitimer(signal.ITIMER_REAL, END_S)
    codes = set()
    while alive:
        for pid, code in _ended():
            del alive[pid]
            codes.add(code)
        if alive and signal.sigwait((signal.SIGCHLD, signal.SIGALRM)) == signal.SIGALRM:
            for pid in alive:
                log.warning("a worker did not end in time", worker=pid)
                os.kill(pid, signal.SIGKILL)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if codes <= {0, -signal.SIGTERM} else 1)  # a fresh one knows no better way


def _ended() -> Iterator[tuple[int, int]]:
    """Tell of workers that ended, with their exit codes; the number of a signal below zero."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)


@contextmanager
def _signals_waiting() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become_worker(parent: int) -> None:
    """End with the parent, a kill of it too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
