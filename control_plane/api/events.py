"""The journal: as a list, and as a stream that resumes where it was cut.

A stream keeps no queue: it reads the journal from its own place, as fast as its client takes it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from control_plane.api.deps import DbDep, RunningDep, ViewerDep, json_response
from control_plane.api.parts import Running
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.events import Event, EventKind, Wanted
from control_plane.services import history
from control_plane.services.history import event_json

router = APIRouter(tags=["events"])
SEND_S: Final = 30.0  # a client that takes nothing for this long is let go
_BATCH: Final = 200
_MAX_SEQ: Final = 2**63 - 1
Seq = Annotated[int, Query(ge=0, le=_MAX_SEQ)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; "" stands for any."""

    fleet: str = ""
    model: str = ""
    kind: str = ""


def _filter(
    fleet: Annotated[QueryText, Query()] = "",
    model: Annotated[QueryText, Query()] = "",
    kind: Annotated[QueryText, Query()] = "",
) -> Filter:
    if kind and kind not in set(EventKind):
        known = f"one of {', '.join(sorted(EventKind))}"
        raise FieldInvalid("kind", f"{kind[:80]!r} is no kind of event", hint=known)
    return Filter(fleet, model, kind)


FilterDep = Annotated[Filter, Depends(_filter)]


def _wanted(
    about: FilterDep,
    server: Annotated[QueryText, Query()] = "",
    actor: Annotated[QueryText, Query()] = "",
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
) -> Wanted:
    return Wanted(about.fleet, about.model, server, actor, about.kind, since, until)


WantedDep = Annotated[Wanted, Depends(_wanted)]


@router.get("/events")
async def list_events(
    db: DbDep,
    wanted: FilterDep,
    _: ViewerDep,
    after: Seq = 0,
    page_size: Annotated[int, Query(ge=1, le=500)] = 100,
    page_token: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
) -> Response:
    """List events with a number above `after`, in order."""
    start = max(after, int(page_token or 0))
    found = await history.events(
        db, start, page_size, fleet=wanted.fleet, model=wanted.model, kind=wanted.kind
    )
    more = str(found[-1].seq) if len(found) == page_size else ""
    return json_response({"items": [event_json(one) for one in found], "next_page_token": more})


@router.get("/events:newest")
async def newest_events(
    db: DbDep,
    wanted: WantedDep,
    _: ViewerDep,
    page_size: Annotated[int, Query(ge=1, le=500)] = 100,
    page_token: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
) -> Response:
    """List events, the newest first; a page may be empty and more of them follow."""
    told = await history.newest(db, wanted, int(page_token or 0), page_size)
    items = [event_json(one) for one in told.events]
    return json_response({"items": items, "next_page_token": str(told.before or "")})


@router.get("/events:stream")
async def stream_events(
    running: RunningDep,
    wanted: FilterDep,
    _: ViewerDep,
    after: Seq | None = None,
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Follow the journal as server-sent events; `Last-Event-ID` resumes."""
    if len(running.streams) >= running.parts.options.streams:
        raise HTTPException(429, "too many event streams are open")
    asked = last_event_id or (str(after) if after is not None else "")
    return EventStream(running, wanted, asked)


class EventStream(Response):
    """Server-sent events from the journal."""

    media_type = "text/event-stream"

    def __init__(self, running: Running, wanted: Filter, asked: str) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._running = running
        self._wanted = wanted
        self._asked = asked

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client leaves, stalls, or we close."""
        self._running.streams.add(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(send))
                await _gone(receive, sending)
        finally:
            self._running.streams.discard(self)

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                try:
                    async with asyncio.timeout(SEND_S):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self) -> AsyncGenerator[bytes]:
        feed, db = self._running.feed, self._running.parts.db
        place = await history.resume(db, self._asked)
        if place.reset:
            data = {"first": place.first, "last": place.last}
            yield f"event: reset\nid: {place.after}\ndata: {json.dumps(data)}\n\n".encode()
        else:
            yield b": following\n\n"
        after = place.after
        while not feed.closed:
            seen = feed.seq
            found = await history.events(
                db,
                after,
                _BATCH,
                fleet=self._wanted.fleet,
                model=self._wanted.model,
                kind=self._wanted.kind,
            )
            if found:
                after = found[-1].seq
                yield b"".join(_frame(one) for one in found)
            elif not await feed.after(seen, self._heartbeat_s()):
                yield b": beat\n\n"

    def _heartbeat_s(self) -> float:
        return self._running.parts.options.heartbeat_s


async def _gone(receive: Receive, sending: asyncio.Task[None]) -> None:
    """Wait until the client left or the sending ended, and end the other."""

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    listening = asyncio.create_task(listen())
    try:
        await asyncio.wait((listening, sending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        listening.cancel()
        sending.cancel()


def _frame(event: Event) -> bytes:
    data = json.dumps(event_json(event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\ndata: {data}\n\n".encode()
