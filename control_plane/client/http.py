"""The two clients: they only move bytes and wait; every decision is in `conversation`."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import httpx

from control_plane.client import calls
from control_plane.client.answers import Event, Paged, Rollout
from control_plane.client.call import Call
from control_plane.client.conversation import Outcome, Pause, answer, converse
from control_plane.client.errors import WaitedTooLong
from control_plane.client.sse import Parser

T = TypeVar("T")
_POLL_S = 0.2
_RECONNECT_S = 0.3
_STREAM_TIMEOUT = httpx.Timeout(10, read=60)  # a stream sends a heartbeat far more often


def _settings(base_url: str, token: str, timeout_s: float) -> dict[str, Any]:
    return {
        "base_url": base_url.rstrip("/"),
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, 5)),
        "follow_redirects": False,
    }


class Client:
    """Talks to one control plane; close it, or use it in a `with` block."""

    def __init__(self, base_url: str, *, token: str = "", timeout_s: float = 60) -> None:
        self._http = httpx.Client(**_settings(base_url, token, timeout_s))

    def send(self, call: Call[T]) -> T:
        """Make the call.

        Raises:
            ApiError: the API refused or failed.
            Unreachable: no answer.
        """
        talk, told = converse(call, self._http), cast("Outcome", None)
        while True:
            try:
                step = talk.send(told)
            except StopIteration as end:
                return cast("T", end.value)
            told = self._carry_out(step)

    def items(self, call: Call[Paged[T]]) -> Iterator[T]:
        """Walk through all pages of a list."""
        token = ""
        while True:
            page = self.send(call.page(token) if token else call)
            yield from page["items"]
            if not (token := page.get("next_page_token", "")):
                return

    def watch(self, rollout_id: str, timeout_s: float | None = None) -> Iterator[Rollout]:
        """Tell the rollout's state again and again until it is over; the last one is its end.

        Raises:
            WaitedTooLong: it was not over in time.
        """
        until = time.monotonic() + timeout_s if timeout_s is not None else None
        while True:
            rollout = self.send(calls.rollout(rollout_id))
            yield rollout
            if not rollout["live"]:
                return
            if until is not None and time.monotonic() > until:
                raise WaitedTooLong(rollout, timeout_s or 0)
            time.sleep(_POLL_S)

    def follow(self, call: Call[Paged[Event]], last_id: str = "") -> Iterator[Event]:
        """Tell every event from now on, or after `last_id`, without end and through reconnects."""
        parser = Parser(last_id)
        while True:
            parser.restart()
            with suppress(httpx.TransportError):
                yield from self._stream(call, parser)
            time.sleep(_RECONNECT_S)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, step: httpx.Request | Pause) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.send(step)
        except httpx.TransportError as error:
            return error

    def _stream(self, call: Call[Paged[Event]], parser: Parser) -> Iterator[Event]:
        with self._http.stream(
            "GET",
            f"{call.path}:stream",
            params=dict(call.query),
            headers={"Last-Event-ID": parser.last_id} if parser.last_id else {},
            timeout=_STREAM_TIMEOUT,
        ) as response:
            if not response.is_success:
                response.read()
                answer(response)
            for line in response.iter_lines():
                event = parser.feed(line)
                if event is not None and event.kind == "message":
                    yield cast("Event", event.data)


class AsyncClient:
    """`Client` for asyncio."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        timeout_s: float = 60,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_settings(base_url, token, timeout_s), transport=transport)

    async def send(self, call: Call[T]) -> T:
        """Make the call.

        Raises:
            ApiError: the API refused or failed.
            Unreachable: no answer.
        """
        talk, told = converse(call, self._http), cast("Outcome", None)
        while True:
            try:
                step = talk.send(told)
            except StopIteration as end:
                return cast("T", end.value)
            told = await self._carry_out(step)

    async def items(self, call: Call[Paged[T]]) -> AsyncIterator[T]:
        """Walk through all pages of a list."""
        token = ""
        while True:
            page = await self.send(call.page(token) if token else call)
            for item in page["items"]:
                yield item
            if not (token := page.get("next_page_token", "")):
                return

    async def watch(
        self, rollout_id: str, timeout_s: float | None = None
    ) -> AsyncIterator[Rollout]:
        """Tell the rollout's state again and again until it is over; the last one is its end.

        Raises:
            WaitedTooLong: it was not over in time.
        """
        until = time.monotonic() + timeout_s if timeout_s is not None else None
        while True:
            rollout = await self.send(calls.rollout(rollout_id))
            yield rollout
            if not rollout["live"]:
                return
            if until is not None and time.monotonic() > until:
                raise WaitedTooLong(rollout, timeout_s or 0)
            await asyncio.sleep(_POLL_S)

    async def follow(self, call: Call[Paged[Event]], last_id: str = "") -> AsyncIterator[Event]:
        """Tell every event from now on, or after `last_id`, without end and through reconnects."""
        parser = Parser(last_id)
        while True:
            parser.restart()
            with suppress(httpx.TransportError):
                async for event in self._stream(call, parser):
                    yield event
            await asyncio.sleep(_RECONNECT_S)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _carry_out(self, step: httpx.Request | Pause) -> Outcome:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.send(step)
        except httpx.TransportError as error:
            return error

    async def _stream(self, call: Call[Paged[Event]], parser: Parser) -> AsyncIterator[Event]:
        async with self._http.stream(
            "GET",
            f"{call.path}:stream",
            params=dict(call.query),
            headers={"Last-Event-ID": parser.last_id} if parser.last_id else {},
            timeout=_STREAM_TIMEOUT,
        ) as response:
            if not response.is_success:
                await response.aread()
                answer(response)
            async for line in response.aiter_lines():
                event = parser.feed(line)
                if event is not None and event.kind == "message":
                    yield cast("Event", event.data)
