"""Small HTTP reads for gates: Prometheus text, and verdicts that a URL answers.

Every read has a deadline and a limit of size, follows no redirect and uses no proxy.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from control_plane.domain.errors import DeadlineExpired, ServerUnreachable
from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.series import Sample

MOST_BYTES = 4 << 20
_LONGEST_REASON = 500
_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*\Z")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"[ \t]*(?:,|\Z)')
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}
_ESCAPED = re.compile(r"\\[n\"\\]")


@dataclass(frozen=True, slots=True)
class Page:
    """What a URL answered."""

    status: int
    content: bytes
    date: str = ""  # the answer's `Date`, by the clock of who answered

    @property
    def good(self) -> bool:
        """Whether it is an answer and not an error or a redirect."""
        return 200 <= self.status < 300


async def fetch(url: str, timeout_s: float, body: Mapping[str, Any] | None = None) -> Page:
    """Read a URL; with a body, send it that JSON.

    Raises:
        DeadlineExpired: it took longer.
        ServerUnreachable: no answer, or one of more than `MOST_BYTES`.
    """
    method = "GET" if body is None else "POST"
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client,
            client.stream(method, url, json=body) as answer,
        ):
            content = await _content(url, answer)
            return Page(answer.status_code, content, answer.headers.get("date", ""))
    except (TimeoutError, httpx.TimeoutException):
        raise DeadlineExpired(f"{url} gave no answer within {timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{url}: {str(error) or type(error).__name__}"
        raise ServerUnreachable(text[:_LONGEST_REASON]) from None


async def _content(url: str, answer: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in answer.aiter_bytes(1 << 16):
        content += chunk
        if len(content) > MOST_BYTES:
            raise ServerUnreachable(f"{url} answers more than {MOST_BYTES >> 20} MB")
    return bytes(content)


async def scrape(url: str, timeout_s: float) -> list[Sample]:
    """Read Prometheus text.

    Raises:
        DeadlineExpired: it took longer.
        ServerUnreachable: no answer, or one without a single sample.
    """
    page = await fetch(url, timeout_s)
    if not page.good:
        raise ServerUnreachable(f"{url} answers {page.status}")
    found = list(samples(page.content.decode(errors="replace")))
    if not found:
        raise ServerUnreachable(f"{url} answers no series in Prometheus text")
    return found


def samples(text: str) -> Iterator[Sample]:
    """Yield the samples of Prometheus text; a line that is none is passed over.

    TensorFlow Serving writes error texts into labels without escaping them.
    """
    for line in text.splitlines():
        if line.startswith("#") or not (found := _LINE.match(line)):
            continue
        value, labels = _value(found[3]), _labels(found[2] or "")
        if value is not None and labels is not None:
            yield Sample(found[1], labels, value)


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None


def _labels(text: str) -> dict[str, str] | None:
    found, at = dict[str, str](), 0
    while at < len(text):
        one = _LABEL.match(text, at)
        if one is None:
            return None
        found[one[1]] = _ESCAPED.sub(lambda match: _ESCAPES[match[0]], one[2])
        at = one.end()
    return found


async def asked_verdict(url: str, timeout_s: float, body: Mapping[str, Any]) -> Verdict:
    """Ask a URL for its verdict; whatever is none holds the rollout, with the reason."""
    try:
        page = await fetch(url, timeout_s, body)
    except (DeadlineExpired, ServerUnreachable) as error:
        return Verdict(Ruling.HOLD, error.message)
    if not page.good:
        return Verdict(Ruling.HOLD, f"{url} answers {page.status}", {"status": page.status})
    return _verdict(url, page.content)


def _verdict(url: str, content: bytes) -> Verdict:
    """Read `{"verdict": "pass|hold|fail", "reason": …}`."""
    try:
        document = json.loads(content)
        ruling = Ruling(document["verdict"])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f'{url} answers no verdict: {{"verdict": "pass|hold|fail", "reason": "…"}} is one'
        return Verdict(Ruling.HOLD, text)
    reason = _storable(str(document.get("reason") or "no reason given"))[:_LONGEST_REASON]
    return Verdict(ruling, f"{url} says {ruling}: {reason}", {"url": url, "reason": reason})


def _storable(text: str) -> str:
    """Leave out what no database keeps: NUL and lone surrogates."""
    return text.replace("\0", "").encode(errors="replace").decode()
