"""Tells who waits that the journal has grown: event streams, held answers, the resolve snapshot.

One query serves all of them. Writes of this process are seen at once through `poke`, those
of others within `BUSY_S` while somebody eager waits, `IDLE_S` otherwise.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final

from control_plane.domain.errors import Transient
from control_plane.store import journal
from control_plane.store.database import Database

BUSY_S: Final = 0.1
BREATH_S: Final = 0.05
IDLE_S: Final = 0.5


class Feed:
    """The journal's last number as far as this process has seen it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._grown = asyncio.Condition()
        self._poked = asyncio.Event()
        self._eager = 0
        self._looked_at = time.monotonic()
        self.seq = 0
        self.closed = False

    def age_s(self) -> float:
        """How long ago the journal was looked at."""
        return time.monotonic() - self._looked_at

    def poke(self) -> None:
        """Look at the journal now."""
        self._poked.set()

    async def after(self, seq: int, timeout_s: float, *, eager: bool = True) -> bool:
        """Wait until the journal is beyond `seq`; False when the time is over or we close."""
        self._eager += eager
        if eager:
            self._poked.set()
        try:
            async with asyncio.timeout(timeout_s), self._grown:
                await self._grown.wait_for(lambda: self.closed or self.seq > seq)
        except TimeoutError:
            return False
        finally:
            self._eager -= eager
        return not self.closed

    async def close(self) -> None:
        """Let go of everybody who waits."""
        self.closed = True
        self._poked.set()
        async with self._grown:
            self._grown.notify_all()

    async def run(self) -> None:
        """Follow the journal until closed."""
        while not self.closed:
            self._poked.clear()
            with suppress(Transient):
                await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(BUSY_S if self._eager else IDLE_S):
                    await self._poked.wait()
            if not self.closed:
                await asyncio.sleep(BREATH_S)  # a promotion writes several times: read once

    async def _look(self) -> None:
        at = time.monotonic()
        async with self._db.glance() as s:
            last = await journal.last_seq(s)
        self._looked_at = at
        if last != self.seq:
            async with self._grown:
                self.seq = last
                self._grown.notify_all()
