"""The client: what it sends, what it makes of answers, what it does when there is none."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from control_plane.client import (
    ApiError,
    AsyncClient,
    Call,
    Client,
    Unreachable,
    WaitedTooLong,
    calls,
)
from control_plane.client.calls import DeploymentSpec, Promotion, Rollback
from tests.cli.scripted_api import Reply, ScriptedApi, scripted_api

Send = Callable[[str, Call[Any]], Any]
PROBLEM = "application/problem+json"
BUSY = Reply(503, {"code": "store-busy", "detail": "busy"}, PROBLEM)


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with scripted_api() as made:
        yield made


def _send_sync(url: str, call: Call[Any]) -> Any:
    with Client(url, token="cp_1_2") as client:
        return client.send(call)


def _send_async(url: str, call: Call[Any]) -> Any:
    async def send() -> Any:
        async with AsyncClient(url, token="cp_1_2") as client:
            return await client.send(call)

    return asyncio.run(send())


@pytest.fixture(params=[_send_sync, _send_async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    chosen: Send = request.param
    return chosen


def test_sends_the_token_and_what_was_given_and_no_more(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(202, {"changed": True}))
    send(api.url, calls.promote("eu", "ranker", Promotion(version=0, reason="why")))
    (seen,) = api.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1/fleets/eu/deployments/ranker:promote")
    assert seen.headers["authorization"] == "Bearer cp_1_2"
    assert seen.body == b'{"version":0,"label":"stable","reason":"why"}'


def test_names_are_quoted_in_paths(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(body={}))
    send(api.url, calls.model("a/b ?"))
    assert api.seen[0].path == "/api/v1/models/a%2Fb%20%3F"


def test_a_write_that_lost_its_connection_is_sent_again_with_the_same_key(
    api: ScriptedApi, send: Send
) -> None:
    api.will(Reply(cut=True), Reply(cut=True), Reply(202, {"changed": True}))
    send(api.url, calls.roll_back("default", "ranker", Rollback()))
    keys = [one.headers["idempotency-key"] for one in api.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_every_write_has_a_key_of_its_own(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(202, {}), Reply(202, {}))
    for _ in range(2):
        send(api.url, calls.deploy("default", "ranker", DeploymentSpec([1], {"stable": 1})))
    first, second = (one.headers["idempotency-key"] for one in api.seen)
    assert first != second


def test_a_busy_answer_is_worth_another_try(api: ScriptedApi, send: Send) -> None:
    api.will(BUSY, Reply(body={"items": []}))
    assert send(api.url, calls.models()) == {"items": []}


def test_a_prediction_is_not_repeated_when_no_server_answers(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(503, {"code": "server-unreachable", "detail": "away"}, PROBLEM))
    with pytest.raises(ApiError, match="away"):
        send(api.url, calls.predict("default", "ranker", b"{}", label="stable"))
    assert [one.path for one in api.seen] == [
        "/api/v1/fleets/default/models/ranker/labels/stable:predict"
    ]


def test_a_problem_becomes_an_error_with_all_of_its_members(api: ScriptedApi, send: Send) -> None:
    body = {
        "code": "revision-conflict",
        "detail": "another change came first",
        "hint": "read it again",
        "request_id": "r-1",
        "errors": [{"field": "versions", "message": "too many"}],
        "blockers": ["freeze"],
        "expected": 3,
        "actual": 4,
    }
    api.will(Reply(409, body, PROBLEM))
    with pytest.raises(ApiError, match="another change came first") as caught:
        send(api.url, calls.model("ranker"))
    error = caught.value
    assert (error.status, error.code, error.hint) == (409, "revision-conflict", "read it again")
    assert error.problem.request_id == "r-1"
    assert error.problem.errors[0]["field"] == "versions"
    assert list(error.problem.blockers) == ["freeze"]
    assert error.problem.members["actual"] == 4


def test_an_error_that_is_not_ours_is_told_as_it_stands(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(502, "<h1>Bad gateway</h1>", "text/html"))
    with pytest.raises(ApiError, match="Bad gateway") as caught:
        send(api.url, calls.model("ranker"))
    assert (caught.value.status, caught.value.code) == (502, "http-error")


def test_nobody_there_is_unreachable_and_names_the_address(send: Send) -> None:
    with scripted_api() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match=url):
        send(url, calls.models())


def test_an_answer_without_a_body_is_none(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(204))
    assert send(api.url, calls.delete_model("ranker")) is None


def test_dry_runs_waiting_and_preconditions_are_asked_for(api: ScriptedApi, send: Send) -> None:
    api.will(Reply(body={}), Reply(body={}))
    send(api.url, calls.undeploy("default", "ranker", "old").dry())
    send(api.url, calls.undeploy("default", "ranker").waiting(30).matching('"7"'))
    assert api.seen[0].path == "/api/v1/fleets/default/deployments/ranker?reason=old&dry_run=true"
    assert api.seen[1].headers["prefer"] == "wait=30"
    assert api.seen[1].headers["if-match"] == '"7"'


PAGES = (
    Reply(body={"items": [{"name": "a"}, {"name": "b"}], "next_page_token": "t"}),
    Reply(body={"items": [{"name": "c"}], "next_page_token": ""}),
)


def test_a_list_is_walked_through_all_its_pages(api: ScriptedApi) -> None:
    api.will(*PAGES)
    with Client(api.url) as client:
        assert [one["name"] for one in client.items(calls.models("x"))] == ["a", "b", "c"]
    assert [one.path for one in api.seen] == [
        "/api/v1/models?q=x",
        "/api/v1/models?q=x&page_token=t",
    ]


async def test_a_list_is_walked_through_all_its_pages_in_asyncio(api: ScriptedApi) -> None:
    api.will(*PAGES)
    async with AsyncClient(api.url) as client:
        found = [one["name"] async for one in client.items(calls.models("x"))]
    assert found == ["a", "b", "c"]


def _rollout(phase: str) -> Reply:
    live = phase in ("pending", "progressing")
    return Reply(body={"id": "r1", "phase": phase, "live": live, "sentence": phase})


def test_a_rollout_is_watched_to_its_end(api: ScriptedApi) -> None:
    api.will(_rollout("pending"), _rollout("progressing"), _rollout("failed"))
    with Client(api.url) as client:
        assert [one["phase"] for one in client.watch("r1")] == ["pending", "progressing", "failed"]


async def test_a_rollout_is_watched_to_its_end_in_asyncio(api: ScriptedApi) -> None:
    api.will(_rollout("progressing"), _rollout("succeeded"))
    async with AsyncClient(api.url) as client:
        assert [one["phase"] async for one in client.watch("r1")] == ["progressing", "succeeded"]


def test_watching_ends_with_its_time_while_the_rollout_goes_on(api: ScriptedApi) -> None:
    api.will(_rollout("progressing"), _rollout("progressing"))
    with Client(api.url) as client, pytest.raises(WaitedTooLong, match="r1 is progressing"):
        list(client.watch("r1", 0))


STREAMS = (
    Reply(body=': following\n\nid: 1\ndata: {"seq": 1}\n\nid: 2\ndata: {"seq": 2}\n\n'),
    Reply(body='event: reset\nid: 8\ndata: {"first": 9}\n\nid: 9\ndata: {"seq": 9}\n\n'),
)


def test_events_are_followed_over_a_cut_from_where_it_was(api: ScriptedApi) -> None:
    api.will(Reply(body='id: 6\ndata: {"seq": 6}\n'), *STREAMS)
    with Client(api.url) as client:
        found = itertools.islice(client.follow(calls.events(fleet="eu"), last_id="5"), 3)
        assert [one["seq"] for one in found] == [1, 2, 9]
    assert api.seen[0].path == "/api/v1/events:stream?fleet=eu"
    assert [one.headers["last-event-id"] for one in api.seen] == ["5", "5", "2"]


async def test_events_are_followed_over_a_cut_in_asyncio(api: ScriptedApi) -> None:
    api.will(*STREAMS)
    async with AsyncClient(api.url) as client:
        found = [one["seq"] async for one in _first(client.follow(calls.events()), 3)]
    assert found == [1, 2, 9]


async def test_a_stream_that_is_refused_is_an_error(api: ScriptedApi) -> None:
    api.will(Reply(401, {"code": "not-authenticated", "detail": "who are you"}, PROBLEM))
    async with AsyncClient(api.url) as client:
        with pytest.raises(ApiError, match="who are you"):
            await anext(aiter(client.follow(calls.events())))


async def _first(events: AsyncIterator[Any], count: int) -> AsyncIterator[Any]:
    async for event in events:
        yield event
        count -= 1
        if not count:
            return
