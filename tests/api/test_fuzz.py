"""Whatever is sent, no answer is the server's own failure, and every error is a problem.

Requests are made from the OpenAPI document: such as fit it, and such as do not.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok

from tests.api.conftest import Api, half_plus_two, serving
from tests.databases import sqlite_url

EXAMPLES = 200
ENDLESS_OR_ELSEWHERE = (":stream", ":shutdown", ":predict", "/ready")
KNOWN = {"model": "half_plus_two", "fleet": "default", "label": "stable", "server": "a"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[asyncio.Runner, Api]]:
    """The API on a loop that requests can be sent to one by one."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        api = runner.run(stack.enter_async_context(serving(sqlite_url(tmp_path))))
        runner.run(_something_to_find(api))
        yield runner, api
        runner.run(stack.aclose())


async def _something_to_find(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    body = {"versions": [1, 2], "labels": {"stable": 1}}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    await api.ok("POST", "/fleets/default/servers", json={"address": "a:1", "name": "a"})


def _cases(document: dict[str, Any]) -> st.SearchStrategy[Any]:
    strategies: list[st.SearchStrategy[Any]] = []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if not operation.path.endswith(ENDLESS_OR_ELSEWHERE):
            strategies += [operation.as_strategy(generation_mode=one) for one in GenerationMode]
    return st.one_of(strategies)


async def _send(http: httpx.AsyncClient, case: Any, known: bool) -> httpx.Response:
    told = dict(case.path_parameters or {})
    told |= {name: KNOWN[name] for name in told if known and name in KNOWN}
    path = case.path
    for name, value in told.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = {name: str(value) for name, value in (case.query or {}).items()}
    return await http.request(
        case.method,
        f"http://test{path}",
        params=query,
        content=_content(case.body),
        headers={"Content-Type": "application/json"},
    )


def _content(body: Any) -> bytes:
    if body is NOT_SET:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def test_no_request_makes_the_server_fail(served: tuple[asyncio.Runner, Api]) -> None:
    runner, api = served
    counted = {"answers": 0, "accepted": 0}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(api.app.openapi()), known=st.booleans())
    def sent(case: Any, known: bool) -> None:
        answer = runner.run(_send(api.http, case, known))
        assert answer.status_code < 500, (case.method, case.path, answer.text)
        counted["answers"] += 1
        counted["accepted"] += answer.is_success
        if answer.is_error:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"]

    sent()
    assert counted["answers"] >= EXAMPLES
    assert counted["accepted"] >= EXAMPLES / 20
