"""`python -m bench.load ADDRESS PATH TOKEN SECONDS`: asks one path as fast as it is answered.

A process of its own; prints its figures as JSON. Each connection has one request under way.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

CONNECTIONS = 16
_PATIENCE_S = 10.0
_OK = b"HTTP/1.1 200"
_LENGTH = b"content-length: "


@dataclass(slots=True)
class Tally:
    """When it ends, and how long each request took."""

    ends_at: float
    took_s: list[float] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """Sends the next request when the last one was answered."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._tally = tally
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is complete."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        now = time.perf_counter()
        self._tally.took_s.append(now - self._sent_at)
        if not head.startswith(_OK):
            self.done.set_exception(ConnectionError(self._received.decode()))
        elif now < self._tally.ends_at:
            self._received = b""
            self._send()
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if it was lost too early."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    at = head.index(_LENGTH) + len(_LENGTH)
    return int(head[at:].partition(b"\r\n")[0])


async def load(address: str, request: bytes, span_s: float) -> Tally:
    """Ask for so long on all connections."""
    host, _, port = address.rpartition(":")
    tally = Tally(time.perf_counter() + span_s)
    loop = asyncio.get_running_loop()
    connections = [
        await loop.create_connection(lambda: Connection(request, tally), host, int(port))
        for _ in range(CONNECTIONS)
    ]
    async with asyncio.timeout(span_s + _PATIENCE_S):
        await asyncio.gather(*(protocol.done for _, protocol in connections))
    for transport, _ in connections:
        transport.close()
    return tally


def main(address: str, path: str, token: str, span: str) -> None:
    """Print requests per second and the 99th percentile of their duration."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
    tally = uvloop.run(load(address, request, float(span)))
    ordered = sorted(tally.took_s)
    figures = {"per_s": len(ordered) / float(span), "p99_s": ordered[int(len(ordered) * 0.99)]}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
