"""The stories that a database could break, on PostgreSQL; all others run on SQLite."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.conftest import MODELS, Api, half_plus_two, serving
from tests.databases import Postgres, fresh_database, postgres_server

HALF = "/fleets/default/deployments/half_plus_two"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
async def api(postgres: Postgres) -> AsyncIterator[Api]:
    with fresh_database(postgres) as url:
        async with serving(url) as running:
            yield running


async def test_labels_go_forward_and_back(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1], "labels": {"stable": 1}})
    await api.ok("POST", f"{HALF}:promote", json={"version": 2})
    await api.ok("POST", f"{HALF}:rollback")
    assert (await api.ok("GET", HALF))["labels"] == {"stable": 1}
    kinds = [one["kind"] for one in (await api.ok("GET", f"{HALF}/revisions"))["items"]]
    assert kinds == ["rollback", "promote", "deploy"]


async def test_of_many_at_once_with_one_key_all_get_one_answer(api: Api) -> None:
    body = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
    key = {"Idempotency-Key": "k1"}
    sent = (api.http.post("/models", json=body, headers=key) for _ in range(8))
    answers = await asyncio.gather(*sent)
    assert {one.status_code for one in answers} == {201}
    assert len({one.text for one in answers}) == 1
    assert len((await api.ok("GET", "/events"))["items"]) == 1


async def test_of_two_promotions_at_once_one_is_a_conflict(api: Api) -> None:
    await half_plus_two(api, 1, 2, 3)
    await api.ok("PUT", HALF, json={"versions": [1], "labels": {"stable": 1}})
    server = {"address": "127.0.0.1:1", "name": "silent", "take_over": True}
    await api.ok("POST", "/fleets/default/servers", json=server)
    bodies = ({"version": number, "expect": 1} for number in (2, 3))
    sent = (api.http.post(f"{HALF}:promote", json=body) for body in bodies)
    answers = await asyncio.gather(*sent)
    assert sorted(one.status_code for one in answers) == [202, 409]


async def test_a_dry_run_leaves_nothing(api: Api) -> None:
    body = {"name": "eu"}
    await api.ok("POST", "/fleets", json=body, params={"dry_run": True})
    assert [one["name"] for one in (await api.ok("GET", "/fleets"))["items"]] == ["default"]


async def test_text_that_postgresql_refuses_is_invalid(api: Api) -> None:
    body = {"name": "eu", "description": "a\x00b"}
    assert (await api.refused("POST", "/fleets", json=body))["status"] == 422
    assert (await api.http.get("/models", params={"q": "a\x00"})).status_code == 422
    assert (await api.http.get("/events", params={"fleet": "a\x00"})).status_code == 422
