"""The threads of a program as generators in virtual time: deterministic, and fast without sleeping.

A thread yields what it waits for: a time, or a condition that is looked at whenever another thread
has moved. Between two yields it has the program to itself.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Wait = float | Callable[[], bool]
Thread = Iterator[Wait]
_T = TypeVar("_T")


class Chooser(Protocol):
    """Decides what a real server leaves open; a `random.Random` is one."""

    def random(self) -> float:
        """Give a number from 0 to below 1."""

    def choice(self, seq: Sequence[_T], /) -> _T:
        """Pick one."""


class Threads:
    """All threads of one program and their clock, which only `advance` moves."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._asleep: list[tuple[float, int, Thread]] = []
        self._blocked: list[tuple[Callable[[], bool], Thread]] = []
        self._order = itertools.count()

    def start(self, thread: Thread) -> None:
        """Let a thread run from now on, after those that are due already."""
        heapq.heappush(self._asleep, (self.now, next(self._order), thread))

    def advance(self, now: float) -> None:
        """Run everything that is due up to and including `now`."""
        self._run(now)
        self.now = max(self.now, now)
        while self._wake():  # conditions that changed from outside did so at `now`, not before
            self._run(now)

    def due(self) -> float | None:
        """Say when something happens next by itself."""
        if any(condition() for condition, _ in self._blocked):
            return self.now
        return self._asleep[0][0] if self._asleep else None

    def kill_all(self) -> None:
        """End every thread where it stands."""
        self._asleep.clear()
        self._blocked.clear()

    def _run(self, now: float) -> None:
        while self._asleep and self._asleep[0][0] <= now:
            at, _, thread = heapq.heappop(self._asleep)
            self.now = max(self.now, at)
            self._step(thread)
            if self._blocked:
                self._wake()

    def _step(self, thread: Thread) -> None:
        wait = next(thread, None)
        if wait is None:
            return
        if callable(wait):
            self._blocked.append((wait, thread))
        else:
            heapq.heappush(self._asleep, (max(wait, self.now), next(self._order), thread))

    def _wake(self) -> bool:
        awake = [thread for condition, thread in self._blocked if condition()]
        if awake:
            self._blocked = [one for one in self._blocked if one[1] not in awake]
            for thread in awake:
                self.start(thread)
        return bool(awake)


class Mutex:
    """A lock whose next holder is not guaranteed to be the one that waited longest."""

    def __init__(self, chooser: Chooser | None = None) -> None:
        self._chooser = chooser
        self._holder: object = None
        self._queue: list[object] = []

    def acquire(self) -> Iterator[Wait]:
        """Wait until the lock is ours."""
        ticket = object()
        if self._holder is None:
            self._holder = ticket
            return
        self._queue.append(ticket)
        yield lambda: self._holder is ticket

    def release(self) -> None:
        """Hand the lock to one of those who wait."""
        self._holder = None
        if self._queue:
            self._holder = chosen(self._chooser, self._queue)
            self._queue.remove(self._holder)


class Pool:
    """A number of threads that work off a queue; 0 of them: whoever submits does the work."""

    def __init__(self, threads: Threads, size: int) -> None:
        self._threads = threads
        self._size = size
        self._busy = 0
        self._queue: deque[Thread] = deque()

    def submit(self, work: Thread) -> Iterator[Wait]:
        """Queue the work, or do it here and now if the pool has no threads."""
        if not self._size:
            self._busy += 1
            yield from work
            self._busy -= 1
            return
        self._queue.append(work)
        if self._busy < self._size:
            self._busy += 1
            self._threads.start(self._work())

    def idle(self) -> bool:
        """Say whether all that was submitted is done."""
        return not self._busy

    def _work(self) -> Thread:
        while self._queue:
            yield from self._queue.popleft()
        self._busy -= 1


def chosen(chooser: Chooser | None, candidates: Sequence[_T]) -> _T:
    """Pick one of several, the first if nobody chooses."""
    return chooser.choice(candidates) if chooser and len(candidates) > 1 else candidates[0]
