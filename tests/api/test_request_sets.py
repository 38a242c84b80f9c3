"""Request sets over the API."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.domain.request_set import MOST_BYTES, MOST_RECORDS
from control_plane.services.access import Role
from control_plane.serving import stubs
from tests.api.conftest import Api, half_plus_two, serving, token
from tests.contract.recordings import half, predicted, record, tfrecord
from tests.databases import sqlite_url

SETS = "/models/half_plus_two/request-sets"
BINARY = {"Content-Type": "application/octet-stream"}
RECORDS = tfrecord(predicted(half(float(at))) for at in range(3))
LINES = b'{"instances": [1.0, 2.0]}\n{"inputs": {"x": [3]}, "signature_name": "serving_default"}\n'
OTHER_KIND = stubs.PredictionLog()
OTHER_KIND.classify_log.SetInParent()


async def upload(api: Api, name: str, content: bytes, **more: Any) -> httpx.Response:
    return await api.http.post(f"{SETS}/{name}", content=content, headers=BINARY, **more)


async def test_a_tfrecord_file_is_uploaded_shown_listed_and_deleted(api: Api) -> None:
    await half_plus_two(api, 1)
    answer = await upload(api, "golden", RECORDS)
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1{SETS}/golden")
    assert (made["form"], made["records"], made["size_bytes"]) == ("tfrecord", 3, len(RECORDS))
    assert made["sha256"] == hashlib.sha256(RECORDS).hexdigest()
    assert await api.ok("GET", f"{SETS}/golden") == made
    assert (await api.ok("GET", SETS))["items"] == [made]
    await api.ok("DELETE", f"{SETS}/golden")
    assert (await api.refused("GET", f"{SETS}/golden"))["status"] == 404
    events = (await api.ok("GET", "/events", params={"model": "half_plus_two"}))["items"]
    told = [one for one in events if one["kind"].startswith("request_set.")]
    assert [one["kind"] for one in told] == ["request_set.created", "request_set.deleted"]
    assert (told[0]["actor"], told[0]["data"]["request_set"]) == ("local", "golden")


async def test_predict_bodies_are_a_set_one_per_line(api: Api) -> None:
    await half_plus_two(api, 1)
    made = (await upload(api, "lines", LINES)).json()
    assert (made["form"], made["records"]) == ("json", 2)


async def test_a_set_never_changes_and_a_rehearsed_one_is_not_there(api: Api) -> None:
    await half_plus_two(api, 1)
    told = (await upload(api, "golden", LINES, params={"dry_run": "true"})).json()
    assert told["would"]["records"] == 2
    assert (await api.ok("GET", SETS))["items"] == []
    assert (await upload(api, "golden", LINES)).status_code == 201
    again = await upload(api, "golden", RECORDS)
    assert (again.status_code, again.json()["code"]) == (409, "already-exists")
    assert (await api.ok("GET", f"{SETS}/golden"))["form"] == "json"


@pytest.mark.parametrize(
    ("content", "number", "words"),
    [
        (RECORDS[:-1] + b"?", 3, "record 3 has a wrong checksum"),
        (RECORDS[:-1], 3, "record 3 is cut short"),
        (RECORDS + b"junk", 4, "record 4: not a TFRecord file"),
        (b"PK\3\4\0\0\0\0zip", 1, "record 1: not a TFRecord file"),
        (record(b"\xff"), 1, "record 1 is not a PredictionLog"),
        (RECORDS + tfrecord([OTHER_KIND]), 4, "record 4 is a classify_log"),
        (LINES + b"{", 3, "record 3: JSON Parse error"),
        (LINES + b"[1]", 3, "Is not object"),
        (b'{"x": [1.0]}', 1, "record 1 needs one of instances and inputs"),
        (LINES + b'{"inputs": {"y": [1.0]}}', 3, "record 3: Missing named input: x"),
        (LINES + b'{"instances": ["a"]}', 3, "record 3: "),
        (LINES * (MOST_RECORDS // 2) + LINES, MOST_RECORDS + 1, "a set holds up to 1000"),
    ],
)
async def test_what_cannot_be_replayed_is_a_422_that_names_the_record(
    api: Api, content: bytes, number: int, words: str
) -> None:
    await half_plus_two(api, 1)
    answer = await upload(api, "golden", content)
    problem = answer.json()
    assert (answer.status_code, problem["record"]) == (422, number)
    assert words in problem["detail"]
    assert (await api.ok("GET", SETS))["items"] == []


@pytest.mark.parametrize("content", [b"", b" \n\n"])
async def test_nothing_is_no_set(api: Api, content: bytes) -> None:
    await half_plus_two(api, 1)
    answer = await upload(api, "golden", content)
    assert (answer.status_code, answer.json()["detail"]) == (422, "there is no request in it")


async def test_too_large_a_set_is_refused_with_the_limit(api: Api) -> None:
    await half_plus_two(api, 1)
    answer = await upload(api, "golden", b"\0" * (MOST_BYTES + 1))
    assert (answer.status_code, str(MOST_BYTES) in answer.json()["detail"]) == (413, True)


async def test_a_set_larger_than_other_bodies_is_taken(api: Api) -> None:
    await half_plus_two(api, 1)
    wide = b'{"instances": [' + b"1.5," * 300_000 + b"1.5]}"
    assert (await upload(api, "wide", wide)).json()["size_bytes"] > api.parts.options.body_bytes


async def test_names_and_types_are_checked(api: Api) -> None:
    await half_plus_two(api, 1)
    refused = await upload(api, "Golden", LINES)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "name")
    form = {"Content-Type": "text/plain"}
    refused = await api.http.post(f"{SETS}/golden", content=LINES, headers=form)
    assert (refused.status_code, "octet-stream" in refused.json()["detail"]) == (415, True)
    refused = await api.http.post("/models/nope/request-sets/x", content=LINES, headers=BINARY)
    assert refused.status_code == 404
    assert (await api.refused("GET", "/models/nope/request-sets"))["status"] == 404


async def test_operators_upload_and_admins_delete(tmp_path: Path) -> None:
    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        secrets = {role: await token(api.db, str(role), role) for role in Role}

        def be(role: Role) -> None:
            api.http.headers["Authorization"] = f"Bearer {secrets[role]}"

        be(Role.ADMIN)
        await half_plus_two(api, 1)
        be(Role.VIEWER)
        assert (await upload(api, "golden", LINES)).status_code == 403
        be(Role.OPERATOR)
        assert (await upload(api, "golden", LINES)).json()["created_by"] == "operator"
        assert (await api.refused("DELETE", f"{SETS}/golden"))["code"] == "denied"
        be(Role.VIEWER)
        assert (await api.ok("GET", f"{SETS}/golden"))["records"] == 2
        be(Role.ADMIN)
        await api.ok("DELETE", f"{SETS}/golden")
