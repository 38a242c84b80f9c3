"""An event loop in virtual time: when nothing is left to do, it is the time of the next timer.

It has no sockets and no threads, so whoever runs on it is told the same things in the same order
every time. What runs belongs to a node, a process of the simulation: one that is frozen stands
still while time goes on, and one that is killed ends wherever it is.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

NODE: ContextVar["Node | None"] = ContextVar("node", default=None)
OUTSIDE = Context()  # what happens there belongs to no node
BEGIN = 1_000.0
_TURNS_AT_ONE_TIME = 200_000
_UNWINDING = 200
T = TypeVar("T")


class StandsStill(AssertionError):
    """Everybody waits for somebody, or somebody never lets time pass."""


class Job(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __init__(self, number: int, *args: Any, **more: Any) -> None:
        self.number = number
        super().__init__(*args, **more)

    def __hash__(self) -> int:
        return self.number


class Node:
    """One process."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.backlog: list[asyncio.Handle] = []
        self.jobs: dict[Job, None] = {}
        self._loop = loop
        self.context = copy_context()
        self.context.run(NODE.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begin something as this process."""
        return self._loop.create_task(work, context=self.context.copy())

    def freeze(self) -> None:
        """Stand still."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on with whatever has become due meanwhile."""
        self.frozen = False
        self._loop.take_back(self.backlog)
        self.backlog = []

    async def kill(self) -> None:
        """End, wherever it is: nothing that it still does has an effect, as its ways out are cut.

        Its tasks are cancelled, so that nothing of it is left in memory.
        """
        self.alive = False
        self.thaw()
        for _ in range(_UNWINDING):
            for job in list(self.jobs):
                job.cancel()
            if not self.jobs:
                return
            await asyncio.sleep(0)
        raise StandsStill(f"{self.name} does not end: {list(self.jobs)}")


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs callbacks in the order in which they became due."""

    def __init__(self) -> None:
        self._now = BEGIN
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._jobs = itertools.count()
        self._turns = 0
        self._running = False
        self._closed = False
        self.failures: list[str] = []  # what nobody caught

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def take_back(self, handles: list[asyncio.Handle]) -> None:
        """Run what had to wait."""
        self._ready.extend(handles)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        job = Job(next(self._jobs), coro, loop=self, name=name, context=context)
        node = (context or copy_context()).get(NODE)
        if node is not None:
            node.jobs[job] = None
            job.add_done_callback(lambda _: node.jobs.pop(job, None), context=OUTSIDE)
        return job

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Do it here and now: a thread would answer whenever it likes."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def run_until_complete(self, future: Any) -> Any:
        asyncio.events._set_running_loop(self)
        self._running = True
        try:
            main = asyncio.ensure_future(future, loop=self)
            while not main.done():
                self._turn()
            return main.result()
        finally:
            self._running = False
            asyncio.events._set_running_loop(None)

    def _turn(self) -> None:
        if not self._ready:
            self._pass_time()
        self._turns += 1
        if self._turns > _TURNS_AT_ONE_TIME:
            raise StandsStill(f"time stands still at {self._now}: {self._ready[0]}")
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle.cancelled():
                continue
            node: Node | None = handle._context.get(NODE)  # type: ignore[attr-defined]
            if node is not None and node.frozen:
                node.backlog.append(handle)
            elif node is None or node.alive or node.jobs:
                handle._run()

    def _pass_time(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise StandsStill("nobody waits for any time")
        self._now = max(self._now, timers[0][0])
        self._turns = 0
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""
