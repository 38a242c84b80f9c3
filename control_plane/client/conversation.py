"""How a call is carried out, without doing it: which requests, which pauses, and what it all means.

The generators here yield what to do next and are told how it went, so that the sync and the async
client share every decision.
"""

import json
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx

from control_plane.client.call import Call
from control_plane.client.errors import ApiError, Problem, Unreachable

_PAUSES_S = (0.2, 0.6)  # before the second and the third try
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for that long."""

    seconds: float


Outcome = httpx.Response | httpx.TransportError | None
Conversation = Generator[httpx.Request | Pause, Outcome, Any]


def converse(call: Call[Any], http: httpx.Client | httpx.AsyncClient) -> Conversation:
    """Send the call, and again if the connection failed or the answer was "busy".

    Every write carries an Idempotency-Key that stays the same over the tries: it has one effect.

    Raises:
        ApiError: the API refused or failed.
        Unreachable: no answer.
    """
    headers = _headers(call)
    outcome = yield _request(call, http, headers)
    for pause_s in _PAUSES_S:
        if not _worth_another_try(call, outcome):
            break
        yield Pause(pause_s)
        outcome = yield _request(call, http, headers)
    if isinstance(outcome, httpx.Response):
        return answer(outcome)
    raise Unreachable(str(http.base_url), str(outcome) or type(outcome).__name__)


def answer(response: httpx.Response) -> Any:
    """Return the body of a good answer: JSON, else its text, None where there is none.

    Raises:
        ApiError: the answer is not a good one.
    """
    text, body = response.text, None
    if "json" in response.headers.get("content-type", ""):
        try:
            body = json.loads(text)
        except ValueError:
            body = None
    if response.is_success:
        return body if body is not None or not text else text
    raise ApiError(Problem.of(response.status_code, body, text))


def _headers(call: Call[Any]) -> dict[str, str]:
    keyed = {"Idempotency-Key": uuid.uuid4().hex} if call.method in _WRITES else {}
    typed = {"Content-Type": "application/json"} if call.content is not None else {}
    return {**keyed, **typed, **call.headers}


def _request(
    call: Call[Any], http: httpx.Client | httpx.AsyncClient, headers: dict[str, str]
) -> httpx.Request:
    return http.build_request(
        call.method,
        call.path,
        params={**call.query} or None,
        json=call.body,
        content=call.content,
        headers=headers,
    )


def _worth_another_try(call: Call[Any], outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.Response):
        return call.retried and outcome.status_code == 503
    # A timeout while reading is no failed connection: whoever waits longer has said so already.
    return not isinstance(outcome, httpx.ReadTimeout)
