"""The rules that every write shares: ETag, Idempotency-Key, dry runs."""

import asyncio
from pathlib import Path

from tests.api.conftest import MODELS, Api, half_plus_two, serving
from tests.databases import sqlite_url

MODEL = "/models/half_plus_two"
HALF = "/fleets/default/deployments/half_plus_two"
BODY = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}


async def test_a_stale_etag_is_a_failed_precondition(api: Api) -> None:
    await half_plus_two(api)
    seen = (await api.http.get(MODEL)).headers["etag"]
    fresh = await api.http.patch(MODEL, json={"owner": "a"}, headers={"If-Match": seen})
    assert fresh.headers["etag"] != seen
    stale = {"If-Match": seen}
    problem = await api.refused("PATCH", MODEL, json={"owner": "b"}, headers=stale)
    assert (problem["status"], problem["code"]) == (412, "precondition-failed")
    assert (await api.refused("DELETE", MODEL, headers=stale))["status"] == 412
    nonsense = {"If-Match": "nonsense"}
    assert (await api.refused("DELETE", MODEL, headers=nonsense))["status"] == 412
    await api.ok("DELETE", MODEL, headers={"If-Match": "*"})


async def test_a_misspelt_dry_run_changes_nothing(api: Api) -> None:
    problem = await api.refused("POST", "/models?dryrun=true", json=BODY)
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "dryrun")
    assert not (await api.ok("GET", "/models"))["items"]


async def test_a_deployment_is_matched_by_its_revision(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1, 2], "labels": {"stable": 1}})
    seen = (await api.http.get(HALF)).headers["etag"]
    await api.ok("POST", f"{HALF}:promote", json={"version": 2}, headers={"If-Match": seen})
    back = {"versions": [1], "labels": {"stable": 1}}
    assert (await api.refused("PUT", HALF, json=back, headers={"If-Match": seen}))["status"] == 412


async def test_the_same_key_and_body_give_the_same_answer_and_one_effect(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    first = await api.http.post("/models", json=BODY, headers=key)
    again = await api.http.post("/models", json=BODY, headers=key)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await api.ok("GET", "/events"))["items"]) == 1


async def test_a_key_with_another_body_is_refused(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    await api.ok("POST", "/models", json=BODY, headers=key)
    other = BODY | {"name": "other"}
    problem = await api.refused("POST", "/models", json=other, headers=key)
    assert (problem["status"], problem["code"]) == (422, "idempotency-key-reused")


async def test_a_promotion_that_is_sent_twice_moves_the_label_once(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1, 2], "labels": {"stable": 1}})
    key = {"Idempotency-Key": "promote-2"}
    first = await api.ok("POST", f"{HALF}:promote", json={"version": 2}, headers=key)
    await api.ok("POST", f"{HALF}:rollback")
    again = await api.ok("POST", f"{HALF}:promote", json={"version": 2}, headers=key)
    assert again == first
    assert (await api.ok("GET", HALF))["labels"] == {"stable": 1}


async def test_of_many_at_once_with_one_key_all_get_one_answer(api: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    sent = (api.http.post("/models", json=BODY, headers=key) for _ in range(8))
    answers = await asyncio.gather(*sent)
    assert {one.status_code for one in answers} == {201}
    assert len({one.text for one in answers}) == 1
    assert len((await api.ok("GET", "/events"))["items"]) == 1


async def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    url, key = sqlite_url(tmp_path), {"Idempotency-Key": "k1"}
    async with serving(url) as before:
        first = await before.ok("POST", "/models", json=BODY, headers=key)
    async with serving(url) as after:
        assert await after.ok("POST", "/models", json=BODY, headers=key) == first


async def test_a_key_is_printable(api: Api) -> None:
    key = {"Idempotency-Key": "a key"}
    problem = await api.refused("POST", "/models", json=BODY, headers=key)
    assert problem["errors"][0]["field"] == "Idempotency-Key"


async def test_a_dry_run_of_a_plain_write_is_undone(api: Api) -> None:
    told = await api.ok("POST", "/models", json=BODY, params={"dry_run": "true"})
    assert (told["dry_run"], told["would"]["name"]) == (True, "half_plus_two")
    assert (await api.refused("GET", MODEL))["status"] == 404
    assert (await api.ok("GET", "/events"))["items"] == []


async def test_writers_at_once_lose_nothing(api: Api) -> None:
    async def add_tag(number: int) -> None:
        while True:
            seen = await api.http.get(MODEL)
            tags = seen.json()["tags"] | {f"t{number}": "x"}
            match = {"If-Match": seen.headers["etag"]}
            answer = await api.http.patch(MODEL, json={"tags": tags}, headers=match)
            if answer.status_code == 200:
                return
            assert answer.status_code == 412

    await half_plus_two(api)
    await asyncio.gather(*(add_tag(number) for number in range(8)))
    assert len((await api.ok("GET", MODEL))["tags"]) == 8
