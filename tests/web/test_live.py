"""The stream of a page tells what changed, beats, and ends with the session."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Message

from control_plane.services.access import Role
from control_plane.web import live
from tests.api.conftest import half_plus_two
from tests.web.conftest import Web

Frame = tuple[str, dict[str, Any]]


@asynccontextmanager
async def following(web: Web, after: str = "") -> AsyncIterator["asyncio.Queue[Frame | None]"]:
    """Open the stream as a browser does; None in the queue is its end."""
    frames: asyncio.Queue[Frame | None] = asyncio.Queue()
    leaving = asyncio.Event()
    cookies = "; ".join(f"{name}={value}" for name, value in web.http.cookies.items())

    async def receive() -> Message:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        for frame in message.get("body", b"").decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in frame.splitlines())
            if "event" in lines:
                frames.put_nowait((lines["event"], json.loads(lines["data"])))
        if message["type"] == "http.response.body" and not message["more_body"]:
            frames.put_nowait(None)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ui/events",
        "raw_path": b"/ui/events",
        "root_path": "",
        "query_string": f"after={after}".encode(),
        "headers": [(b"cookie", cookies.encode())],
        "scheme": "http",
        "server": ("test", 80),
    }
    task = asyncio.create_task(web.api.app(scope, receive, send))
    try:
        yield frames
    finally:
        leaving.set()
        await task


async def test_a_change_is_told_with_what_it_is_about(web: Web) -> None:
    async with following(web) as frames:
        assert await frames.get() == ("beat", {})
        await half_plus_two(web.api)
        kind, data = await frames.get() or ("", {})
    assert kind == "change"
    assert data["models"] == ["half_plus_two"]


async def test_who_was_away_is_told_what_he_missed(web: Web) -> None:
    await half_plus_two(web.api, 1)
    async with following(web, "0") as frames:
        assert await frames.get() == ("beat", {})
        kind, data = await frames.get() or ("", {})
        assert kind == "change"
        assert "half_plus_two" in data["models"]


async def test_who_comes_from_another_journal_is_told_to_look_at_everything(web: Web) -> None:
    async with following(web, "999999") as frames:
        assert await frames.get() == ("beat", {})
        assert await frames.get() == ("change", {"all": True})


async def test_a_stream_without_a_session_is_over_at_once(guarded: Web) -> None:
    async with following(guarded) as frames:
        assert await frames.get() == ("over", {})
        assert await frames.get() is None


async def test_a_stream_ends_with_its_session(guarded: Web, monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.05)
    await guarded.log_in("ada", Role.VIEWER)
    async with following(guarded) as frames:
        assert await frames.get() == ("beat", {})
        assert await frames.get() == ("beat", {})
        copied = dict(guarded.http.cookies)
        await guarded.send("/logout", {})
        assert copied
        while (frame := await frames.get()) == ("beat", {}):
            pass
        assert frame == ("over", {})
        assert await frames.get() is None
    assert guarded.api.app.state.running.streams == set()
