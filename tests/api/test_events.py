"""The journal as a list and as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.app import ApiOptions
from tests.api.conftest import Api, serving
from tests.databases import sqlite_url


class Stream:
    """One open event stream; its client takes what it is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.ended = asyncio.Event()
        self.leave = asyncio.Event()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            await self._chunks.put(message.get("body", b""))

    async def receive(self) -> dict[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def frame(self) -> dict[str, str]:
        """The next frame: its fields, or its comment."""
        async with asyncio.timeout(10):
            while not (chunk := await self._chunks.get()):
                pass
        first, *rest = chunk.decode().split("\n\n")
        for one in reversed([each for each in rest if each]):
            self._chunks._queue.appendleft(f"{one}\n\n".encode())  # type: ignore[attr-defined]
        return dict(line.split(": ", 1) for line in first.splitlines())

    async def event(self) -> dict[str, Any]:
        """The next event; heartbeats are passed over."""
        while "data" not in (found := await self.frame()):
            pass
        told: dict[str, Any] = json.loads(found["data"])
        return told | {"id": found["id"], "event": found.get("event", "")}


@asynccontextmanager
async def streaming(api: Api, query: str = "", last_seen: str = "") -> AsyncIterator[Stream]:
    stream = Stream()
    headers = [(b"last-event-id", last_seen.encode())] if last_seen else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/events:stream",
        "raw_path": b"/api/v1/events:stream",
        "query_string": query.encode(),
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "server": ("test", 80),
        "client": ("test", 1),
    }

    async def run() -> None:
        await api.app(scope, stream.receive, stream.send)
        stream.ended.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run())
        yield stream
        stream.leave.set()


async def add_server(api: Api, name: str, fleet: str = "default") -> None:
    body = {"address": f"{name}.{fleet}:1", "name": name}
    await api.ok("POST", f"/fleets/{fleet}/servers", json=body)


async def test_events_are_listed_in_order_and_filtered(api: Api) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu"})
    for name, fleet in (("a", "default"), ("b", "eu"), ("c", "eu")):
        await add_server(api, name, fleet)
    found = (await api.ok("GET", "/events"))["items"]
    assert [one["seq"] for one in found] == [1, 2, 3, 4]
    query = {"fleet": "eu", "kind": "server.added", "page_size": 1}
    first = await api.ok("GET", "/events", params=query)
    assert [one["server"] for one in first["items"]] == ["b"]
    more = query | {"page_token": first["next_page_token"]}
    assert [one["server"] for one in (await api.ok("GET", "/events", params=more))["items"]] == [
        "c"
    ]
    later = await api.ok("GET", "/events", params={"after": 3})
    assert [one["seq"] for one in later["items"]] == [4]


async def test_a_stream_follows_what_happens_from_now_on(api: Api) -> None:
    await add_server(api, "a")
    async with streaming(api) as stream:
        await stream.frame()
        await add_server(api, "b")
        event = await stream.event()
        assert (event["kind"], event["server"], event["id"]) == ("server.added", "b", "2")


async def test_a_stream_resumes_after_the_last_event_that_was_seen(api: Api) -> None:
    for name in "abc":
        await add_server(api, name)
    async with streaming(api, last_seen="1") as stream:
        assert [(await stream.event())["server"] for _ in range(2)] == ["b", "c"]
        await add_server(api, "d")
        assert (await stream.event())["server"] == "d"


async def test_a_stream_shows_only_what_was_asked_for(api: Api) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu"})
    async with streaming(api, query="after=0&fleet=eu&kind=server.added") as stream:
        await add_server(api, "a")
        await add_server(api, "b", "eu")
        assert (await stream.event())["server"] == "b"


@pytest.mark.parametrize("unknown", ["99", "nonsense", "-1"])
async def test_a_place_that_the_journal_does_not_know_is_a_reset(api: Api, unknown: str) -> None:
    await add_server(api, "a")
    async with streaming(api, last_seen=unknown) as stream:
        told = await stream.event()
        assert (told["event"], told["id"], told["last"]) == ("reset", "1", 1)
        await add_server(api, "b")
        assert (await stream.event())["server"] == "b"


async def test_a_quiet_stream_beats(tmp_path: Path) -> None:
    options = ApiOptions(heartbeat_s=0.05)
    async with (
        serving(sqlite_url(tmp_path), options=options) as api,
        streaming(api) as stream,
    ):
        assert [await stream.frame() for _ in range(3)] == [
            {"": "following"},
            {"": "beat"},
            {"": "beat"},
        ]


async def test_streams_are_counted_and_one_too_many_is_refused(tmp_path: Path) -> None:
    options = ApiOptions(streams=1)
    async with serving(sqlite_url(tmp_path), options=options) as api:
        async with streaming(api) as stream:
            await stream.frame()
            problem = await api.refused("GET", "/events:stream")
            assert (problem["status"], problem["code"]) == (429, "too-many-requests")
        async with streaming(api) as stream:
            await stream.frame()
            assert stream.status == 200


async def test_streams_end_when_the_application_does(api: Api) -> None:
    async with streaming(api) as stream:
        await stream.frame()
        await api.app.state.running.feed.close()
        async with asyncio.timeout(10):
            await stream.ended.wait()
