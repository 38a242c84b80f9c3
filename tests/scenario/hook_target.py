"""A target of HTTP hooks that answers by a script, and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer; a hang is none at all."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    endless: bool = False


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class HookTarget:
    """Answers each path with its replies in turn, the last one again and again."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.asked: list[Asked] = []
        self.port = 0
        self.stuck = asyncio.Event()

    def url(self, path: str, *replies: Reply) -> str:
        """Script a path and return its URL."""
        if replies:
            self.replies[path] = list(replies)
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            self.asked.append(asked)
            script = self.replies.get(asked.path, [Reply()])
            reply = script.pop(0) if len(script) > 1 else script[0]
            if reply.hangs:
                await self.stuck.wait()
                return
            await _write(writer, reply)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def hook_target() -> AsyncIterator[HookTarget]:
    target = HookTarget()
    server = await asyncio.start_server(target.answer, "127.0.0.1", 0)
    target.port = server.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        target.stuck.set()
        server.close()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, json.loads(content) if content else None)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    headers = dict(reply.headers) | ({} if reply.endless else {"Content-Length": len(reply.body)})
    lines = [f"HTTP/1.1 {reply.status} x", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode() + reply.body)
    await writer.drain()
    while reply.endless:
        writer.write(b"x" * 65_536)
        await writer.drain()
