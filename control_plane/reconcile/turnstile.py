"""Lets those in who have much to do, as fast as the event loop keeps up with what it has."""

import asyncio
from types import TracebackType

FREE = 32  # so many at a time are no crowd
CALM_S = 0.02  # who waits for the loop's next round waits no longer than this
PATIENCE_S = 0.05  # then the next one goes in whatever the loop has to do


class Turnstile:
    """Where it is crowded, one at a time passes, and none while the loop's rounds take long.

    A process that takes up fleets has everything to ask of hundreds of servers. All of it at once
    would keep leases, transactions and the deadlines of those very calls waiting for their turns.
    Servers that are slow to answer hold nobody up: the loop has little to do meanwhile.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._inside = 0

    @property
    def crowded(self) -> bool:
        """Whether the next one has to wait for its turn."""
        return self._inside >= FREE

    async def __aenter__(self) -> None:
        """Return when it is one's turn."""
        if self.crowded:
            async with self._turn:
                await _calm()
        self._inside += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Make room."""
        self._inside -= 1


async def _calm() -> None:
    """Return when the loop comes round soon, or patience ends."""
    time = asyncio.get_running_loop().time
    ends_at = time() + PATIENCE_S
    while True:
        began_at = time()
        await asyncio.sleep(0)
        round_s = time() - began_at
        if round_s < CALM_S or time() >= ends_at:
            return
        await asyncio.sleep(round_s)
