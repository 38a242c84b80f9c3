"""Work by key: a key says who, never what happened, so lost and doubled nudges do no harm.

One pass per key at a time, all keys side by side. A pass that returns None is forgotten until the
next nudge, one that returns seconds is repeated after them, one that raises is tried again later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from control_plane.domain.errors import ControlPlaneError

K = TypeVar("K", bound=Hashable)
FIRST_BACKOFF_S, MOST_BACKOFF_S = 0.1, 10.0
GRACE_S = 0.5
log = structlog.get_logger()


@dataclass(slots=True)
class _Entry:
    task: asyncio.Task[None] | None = None
    timer: asyncio.Handle | None = None
    due: float = 0.0  # when the timer goes off; not every loop's handles tell
    again: bool = False  # nudged while its pass runs
    failures: int = 0


class KeyedQueue(Generic[K]):
    """Runs `work` for keys until closed."""

    def __init__(
        self, work: Callable[[K], Awaitable[float | None]], jitter: Callable[[], float]
    ) -> None:
        self._work = work
        self._jitter = jitter  # uniform in [0, 1)
        self._entries: dict[K, _Entry] = {}
        self._closed = False

    def nudge(self, key: K) -> None:
        """Have a pass for this key begin after this moment, at once if it can."""
        if self._closed:
            return
        entry = self._entries.setdefault(key, _Entry())
        if entry.task is not None:
            entry.again = True
            return
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        entry.task = asyncio.create_task(self._passes(key, entry))

    def soon(self, key: K, within_s: float) -> None:
        """Have a pass for this key begin within some seconds, unless one runs or comes earlier."""
        if self._closed:
            return
        entry = self._entries.setdefault(key, _Entry())
        at = asyncio.get_running_loop().time() + within_s
        if entry.timer is not None and entry.due <= at:
            return
        if entry.task is not None:
            entry.again = True
            return
        if entry.timer is not None:
            entry.timer.cancel()
        self._set(key, entry, at)

    def forget(self, key: K) -> None:
        """Stop working for a key; a pass under way is cancelled."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.task is not None:
            entry.task.cancel()

    async def close(self) -> None:
        """Let passes under way end if they do so soon, cancel the others, start no more."""
        self._closed = True
        await self.drain(lambda _: True)

    async def drain(self, wanted: Callable[[K], bool]) -> None:
        """Let passes of some keys end if they do so soon, cancel the others, and forget the keys.

        Until then whoever is nudged works on; see to it that there is nothing to do.
        """
        keys = [key for key in self._entries if wanted(key)]
        tasks = [task for key in keys if (task := self._entries[key].task) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)
        for key in keys:
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _passes(self, key: K, entry: _Entry) -> None:
        while True:
            entry.again = False
            after_s = await self._outcome(key, entry)
            if self._closed or not entry.again:
                break
        entry.task = None
        if self._closed or self._entries.get(key) is not entry:
            return
        if after_s is None:
            del self._entries[key]
        else:
            self._set(key, entry, asyncio.get_running_loop().time() + after_s)

    def _set(self, key: K, entry: _Entry, at: float) -> None:
        entry.due = at
        entry.timer = asyncio.get_running_loop().call_at(at, self.nudge, key)

    async def _outcome(self, key: K, entry: _Entry) -> float | None:
        try:
            after_s = await self._work(key)
        except ControlPlaneError as error:
            log.warning("pass failed", key=key, code=error.code, error=error.message)
        except Exception:
            log.exception("pass failed", key=key)
        else:
            entry.failures = 0
            return after_s
        entry.failures += 1
        pause_s = min(FIRST_BACKOFF_S * 2.0 ** min(entry.failures - 1, 16), MOST_BACKOFF_S)
        return pause_s * (0.5 + self._jitter())
