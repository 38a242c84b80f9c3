"""The one stream of a page: what changed, so that its parts can be asked for again.

It beats, so that a page notices a connection that went silent, and ends with the session.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from control_plane.domain.events import Event
from control_plane.services import history
from control_plane.web.visit import Place, Visit, who

BEAT_S: Final = 5.0
_SEND_S: Final = 30.0  # a browser that takes nothing for this long is let go
_BATCH: Final = 500


class Changes(Response):
    """Server-sent events: `change`, `beat` and, when the session is, `over`."""

    media_type = "text/event-stream"

    def __init__(self, visit: Visit, asked: str) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._visit = visit
        self._asked = asked

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the browser leaves, stalls, logs out, or we close."""
        streams = self._visit.site.streams
        streams.add(self)
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            streams.discard(self)
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._frames()) as frames:
            async for frame in frames:
                try:
                    async with asyncio.timeout(_SEND_S):
                        await send({"type": "http.response.body", "body": frame, "more_body": True})
                except TimeoutError:
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self) -> AsyncGenerator[bytes]:
        site = self._visit.site
        if self._visit.actor is None:
            yield _frame("over", {})
            return
        place = await history.resume(site.db, self._asked)
        yield b"retry: 1000\n" + _frame("beat", {})
        if place.reset:
            yield _frame("change", {"all": True}, place.after)
        after, checked_at = place.after, time.monotonic()
        while not site.feed.closed:
            seen = site.feed.seq
            found = await history.events(site.db, after, _BATCH)
            if found:
                after = found[-1].seq
                yield _frame("change", _about(found), after)
            elif not await site.feed.after(seen, BEAT_S):
                yield _frame("beat", {})
            if time.monotonic() - checked_at >= BEAT_S:
                checked_at = time.monotonic()
                if await who(site, self._visit.request) is None:
                    yield _frame("over", {})
                    return


def _about(events: Iterable[Event]) -> dict[str, Any]:
    """Say what some events are about; "" among the models: about all of a fleet."""
    told = list(events)
    return {
        "fleets": sorted({one.fleet for one in told}),
        "models": sorted({one.model for one in told}),
        "rollouts": sorted({one.rollout for one in told if one.rollout}),
    }


def _frame(kind: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _follow(visit: Visit) -> Response:
    site, request = visit.site, visit.request
    if len(site.streams) >= site.most_streams:
        raise HTTPException(429, "too many event streams are open")
    known = Visit(site, request, await who(site, request))
    asked = request.headers.get("last-event-id") or request.query_params.get("after", "")
    return Changes(known, asked)


PLACES: Final = (Place("/ui/events", "events", _follow, open=True),)
