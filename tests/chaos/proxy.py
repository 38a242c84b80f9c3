"""A TCP (or Unix socket) proxy that hurts what passes: seeded, and healed at once when asked.

delay      every chunk waits, in both directions, so long as the fault says
cut        a connection is reset after so many bytes
half-open  connections are accepted, and nothing is forwarded: neither side learns of the other
deaf       requests arrive, answers do not
refused    every connection is reset at once, as if nobody listened
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeAlias

_CHUNK = 1 << 16
_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Address: TypeAlias = tuple[str, int] | str  # a host and a port, or the path of a socket


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the bytes; the default is nothing."""

    delay_s: float = 0.0
    cut_after: int | None = None  # bytes, of connections made from now on and those that are open
    forwards: bool = True
    answers: bool = True
    refuses: bool = False


NOTHING = Fault()


class Proxy:
    """Listens at one address for another one."""

    def __init__(self, listen: Address, to: Address, seed: int = 0, loses: float = 0.0) -> None:
        """`loses`: the part of answers that is replaced by a reset, whatever the fault is."""
        self._listen, self._to = listen, to
        self._loses = loses
        self._chance = random.Random(seed)
        self._fault = NOTHING
        self._changed = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def fault(self) -> Fault:
        """What is wrong now."""
        return self._fault

    async def start(self) -> Self:
        """Begin to accept connections."""
        if isinstance(self._listen, str):
            self._server = await asyncio.start_unix_server(self._accepted, self._listen)
        else:
            self._server = await asyncio.start_server(self._accepted, *self._listen)
        return self

    @property
    def port(self) -> int:
        """Where it listens, if that is a port."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def set(self, fault: Fault) -> None:
        """Hurt what passes from now on, open connections included; `NOTHING` heals.

        Connections that were half open or deaf are reset then: what they swallowed is lost.
        """
        swallowed = not (self._fault.forwards and self._fault.answers)
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        if fault.refuses or (swallowed and fault.forwards and fault.answers):
            self.reset()

    def reset(self) -> None:
        """Cut every open connection."""
        for one in self._links:
            one.cancel()

    async def close(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
        self.reset()
        await asyncio.gather(*self._links, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn

    async def _accepted(self, *near: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        reader, writer = near
        assert isinstance(reader, asyncio.StreamReader)
        assert isinstance(writer, asyncio.StreamWriter)
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        far: asyncio.StreamWriter | None = None
        try:
            if self._fault.refuses:
                return
            await self._until(lambda: self._fault.forwards)
            far_reader, far = await self._connected()
            await self._both((reader, writer), (far_reader, far))
        except (OSError, asyncio.CancelledError):
            pass  # a reset is how a connection ends here, and who is listened to need not hear it
        finally:
            self._links.discard(link)
            for one in (writer, far):
                if one is not None:
                    one.transport.abort()

    async def _connected(self) -> _Streams:
        if isinstance(self._to, str):
            return await asyncio.open_unix_connection(self._to)
        return await asyncio.open_connection(*self._to)

    async def _both(self, near: _Streams, far: _Streams) -> None:
        left = [self._limit()]
        ways = (
            self._carry(near[0], far[1], left, (lambda: self._fault.forwards, 0.0)),
            self._carry(far[0], near[1], left, (lambda: self._fault.answers, self._loses)),
        )
        tasks = [asyncio.create_task(one) for one in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            with suppress(OSError):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[float],
        way: tuple[Callable[[], bool], float],
    ) -> None:
        passes, loses = way
        while data := await reader.read(_CHUNK):
            await self._until(passes)
            if self._chance.random() < loses:
                return
            if self._fault.delay_s:
                await asyncio.sleep(self._fault.delay_s * self._chance.uniform(0.5, 1))
            left[0] = min(left[0], self._limit())
            writer.write(data[: int(min(left[0], len(data)))])
            await writer.drain()
            left[0] -= len(data)
            if left[0] <= 0:
                return

    def _limit(self) -> float:
        cut = self._fault.cut_after
        return float("inf") if cut is None else float(cut)

    async def _until(self, good: Callable[[], bool]) -> None:
        while not good():
            await self._changed.wait()
