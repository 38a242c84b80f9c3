"""HTTP calls of hooks: bounded in time and bytes, no redirects, no proxies of the environment.

Of an answer's body only what `fail_if` names is ever told: a hook is no way to read what others
must not see.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.hook import Again, Answer, Bad, FailIf, Http, Tried, judge_answer
from control_plane.domain.hook_document import check_url

CONNECT_S: Final = 3.0
BODY_BYTES: Final = 64 << 10
_CONNECTIONS: Final = 32


class HookCalls:
    """Calls URLs; close it when done."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def call(
        self, http: Http, body: Mapping[str, Any], fail_if: FailIf | None, timeout_s: float
    ) -> Tried:
        """Call once; `body` names the run and its rollout, which become headers."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._answer(http, body, timeout_s)
        except TimeoutError:
            return Tried(Again(f"timed out after {timeout_s:g} s"))
        except (httpx.InvalidURL, FieldInvalid) as error:
            return Tried(Bad(f"cannot be called: {error}"))
        except httpx.HTTPError as error:
            return Tried(Again(f"no answer: {type(error).__name__} {error}".rstrip()))
        return Tried(judge_answer(answer, fail_if), answer.status)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _answer(self, http: Http, body: Mapping[str, Any], timeout_s: float) -> Answer:
        content = b"" if http.method == "GET" else json.dumps(body, ensure_ascii=False).encode()
        headers = {
            **http.headers,
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "X-Request-Id": str(body["id"]),
            "X-Rollout-Id": str(body["rollout"]),
        }
        url = check_url("http.url", http.url)
        limits = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        asked = self._connected().stream(
            http.method, url, content=content, headers=headers, timeout=limits
        )
        async with asked as response:
            return await _read(response)

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0),
            )
        return self._client


async def _read(response: httpx.Response) -> Answer:
    """Read an answer's first bytes; compressed ones stay as they are."""
    read = bytearray()
    async for piece in response.aiter_raw():
        read += piece
        if len(read) > BODY_BYTES:
            break
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(
        response.status_code, headers, bytes(read[:BODY_BYTES]), cut=len(read) > BODY_BYTES
    )
