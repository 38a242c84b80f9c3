"""Every error is a problem+json, whoever found it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from control_plane.api import problems
from control_plane.domain import errors
from tests.api.conftest import Api, serving
from tests.databases import sqlite_url

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD_NAMES = ["", ".hidden", "-dash", "a b", "a/b", "a:b", "ü", "x" * 129, "a\n", "a\x00b"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One API for all of them: what is refused leaves nothing behind."""
    async with serving(sqlite_url(tmp_path_factory.mktemp("problems"))) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/models/nobody", 404, "not-found"),
        ("GET", "/models/nobody/versions", 404, "not-found"),
        ("GET", "/fleets/nobody/status", 404, "not-found"),
        ("GET", "/fleets/default/deployments/nobody", 404, "not-found"),
        ("GET", "/fleets/default/models/m/labels/stable", 404, "not-found"),
        ("GET", "/rollouts/nobody", 404, "not-found"),
        ("GET", "/fleets/default/revisions/7", 404, "not-found"),
        ("GET", "/no/such/path", 404, "not-found"),
        ("POST", "/fleets/default/deployments/nobody:promote", 422, "invalid"),
        ("PUT", "/models/nobody", 405, "method-not-allowed"),
        ("GET", "/models?page_size=501", 422, "invalid"),
        ("GET", "/models?page_token=nonsense", 422, "invalid"),
        ("GET", "/models?colour=red", 422, "invalid"),
        ("GET", "/models/.bad", 422, "invalid"),
        ("GET", "/models/m/versions/-1", 422, "invalid"),
        ("GET", "/models/m/versions/9223372036854775808", 422, "invalid"),
        ("GET", "/fleets/default/state?at=yesterday", 422, "invalid"),
        ("POST", "/rollouts/r:frobnicate", 422, "invalid"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    problem = await api.refused(method, path)
    assert (problem["status"], problem["code"]) == (status, code)


async def test_malformed_json_is_invalid(api: Api) -> None:
    header = {"Content-Type": "application/json"}
    problem = await api.refused("POST", "/models", content=b'{"name": ', headers=header)
    assert (problem["status"], problem["code"]) == (422, "invalid")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40, b"\xff\xfe"])
async def test_json_that_is_too_deep_or_no_text_is_refused(api: Api, body: bytes) -> None:
    header = {"Content-Type": "application/json"}
    problem = await api.refused("POST", "/models", content=body, headers=header)
    assert (problem["status"], problem["code"]) == (422, "invalid")


async def test_a_body_of_another_type_is_refused(api: Api) -> None:
    header = {"Content-Type": "application/x-www-form-urlencoded"}
    problem = await api.refused("POST", "/models", content=b"name=x", headers=header)
    assert (problem["status"], problem["code"]) == (415, "unsupported-media-type")


async def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(api: Api) -> None:
    async def chunks() -> Any:
        for _ in range(3):
            yield b" " * (1 << 19)

    header = {"Content-Type": "application/json"}
    for content in (b" " * ((1 << 20) + 1), chunks()):
        problem = await api.refused("POST", "/models", content=content, headers=header)
        assert (problem["status"], problem["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_bad_name_is_refused_by_its_field(api: Api, name: str) -> None:
    problem = await api.refused("POST", "/models", json={"name": name, "base_path": "/m"})
    assert problem["status"] == 422
    assert any(one["field"] in ("name", "") for one in problem["errors"])


HALF = "/fleets/default/deployments/half_plus_two"
NAMES = "1 to 128 of A-Z a-z 0-9 . _ - and not . or - at the start"
NUMBERS = "0 ≤ version < 2^63"


@pytest.mark.parametrize(
    ("method", "path", "body", "detail", "hint"),
    [
        ("POST", "/models", {"name": "a b"}, "name: 'a b' is not a valid name", NAMES),
        ("GET", "/models/a%20b", None, "model: 'a b' is not a valid name", NAMES),
        ("POST", f"{HALF}:promote", {"label": "-x"}, "label: '-x' is not a valid name", NAMES),
        (
            *("PUT", HALF, {"versions": [1], "labels": {"a b": 1}}),
            *("labels.a b: 'a b' is not a valid name", NAMES),
        ),
        ("PUT", HALF, {"versions": [1, -2]}, "versions.1: -2 is not a version", NUMBERS),
        ("GET", "/models/m/versions/-1", None, "version: -1 is not a version", NUMBERS),
        (
            "POST",
            f"{HALF}:promote",
            {"version": "2"},
            "version: should be a valid integer; given: '2'",
            "",
        ),
        ("POST", f"{HALF}:promote", {"vresion": 2}, "vresion: there is no such field", ""),
        ("POST", "/models", {"name": "m"}, "base_path: is required", ""),
        ("POST", "/models", [], "the body is an empty list; send a JSON object", ""),
        (
            *("POST", "/models", {"name": "m", "base_path": "/m/../x"}),
            "base_path: '/m/../x' leads elsewhere than it says",
            "'.' and '..' are not allowed in a base path: write where it leads",
        ),
    ],
)
async def test_a_refusal_names_the_field_what_was_given_and_what_is_allowed(
    api: Api, method: str, path: str, body: Any, detail: str, hint: str
) -> None:
    problem = await api.refused(method, path, **({} if body is None else {"json": body}))
    assert (problem["status"], problem["detail"]) == (422, detail)
    assert problem.get("hint", "") == hint


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"name": "m", "name": "n", "base_path": "/m", "force": true}', "name"),
        (b'{"name": "m", "base_path": "/m", "tags": {"a": "1", "a": "1"}, "force": true}', "a"),
    ],
)
async def test_a_key_that_is_given_twice_is_refused_by_its_name(
    api: Api, body: bytes, key: str
) -> None:
    header = {"Content-Type": "application/json"}
    problem = await api.refused("POST", "/models", content=body, headers=header)
    assert (problem["status"], problem["detail"]) == (422, f"{key}: is given twice in one object")
    assert (await api.ok("GET", "/models"))["items"] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "/models?colour=red",
            "colour: no such parameter; this call takes: page_size, page_token, q",
        ),
        ("/models?q=a&q=b", "q: is given twice"),
        ("/fleets/f/models/m/labels/l?at=1", "at: no such parameter; this call takes: none"),
        ("/events?kind=nope", "kind: 'nope' is no kind of event"),
        ("/events:stream?kind=nope", "kind: 'nope' is no kind of event"),
        ("/events?page_token=x", "page_token: should match pattern '^[0-9]{0,18}$'; given: 'x'"),
        ("/models?page_token=x", "page_token: this is not a page token of this list"),
        ("/models?page_size=0", "page_size: should be greater than or equal to 1; given: '0'"),
        ("/rollouts?phase=nope", "phase: "),
    ],
)
async def test_a_query_that_means_nothing_is_refused(api: Api, path: str, text: str) -> None:
    problem = await api.refused("GET", path)
    assert (problem["status"], problem["errors"][0]["field"]) == (422, text.partition(":")[0])
    assert problem["detail"].startswith(text)


@pytest.mark.parametrize(
    "path", ["models", "./m", "/m/../etc", "/m/./x", "", "/", "/a\\b", "s3:/x"]
)
async def test_a_base_path_that_is_not_absolute_is_refused(api: Api, path: str) -> None:
    body = {"name": "m", "base_path": path, "force": True}
    problem = await api.refused("POST", "/models", json=body)
    assert problem["errors"][0]["field"] == "base_path"


@pytest.mark.parametrize("number", [-1, 2**63, 1.0, "1", True, None])
async def test_a_version_is_a_json_integer_in_range(api: Api, number: object) -> None:
    problem = await api.refused("POST", "/models/m/versions", json={"version": number})
    assert problem["errors"][0]["field"] == "version"


async def test_an_unknown_field_is_refused_by_name(api: Api) -> None:
    body = {"name": "m", "base_path": "/m", "colour": "red"}
    problem = await api.refused("POST", "/models", json=body)
    assert problem["errors"][0]["field"] == "colour"


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
async def test_text_that_no_store_can_hold_is_refused(api: Api, text: str) -> None:
    body = {"name": "m", "base_path": "/m", "tags": {"a": text}}
    header = {"Content-Type": "application/json"}
    content = json.dumps(body).encode()
    problem = await api.refused("POST", "/models", content=content, headers=header)
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "tags")


async def test_reserved_labels_are_refused_by_their_field(api: Api) -> None:
    body = {"versions": [1], "labels": {"_cp_x": 1}}
    problem = await api.refused("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    assert problem["errors"][0]["field"].startswith("labels")


async def test_writes_from_pages_of_other_sites_are_refused(api: Api) -> None:
    header = {"Sec-Fetch-Site": "cross-site"}
    problem = await api.refused("POST", "/models/m/versions:scan", headers=header)
    assert (problem["status"], problem["code"]) == (403, "denied")


async def test_a_request_keeps_the_id_that_it_came_with(api: Api) -> None:
    answer = await api.http.get("/models", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    other = await api.http.get("/models", headers={"X-Request-Id": "not fit\x7f"})
    assert other.headers["x-request-id"] != "not fit\x7f"


async def test_a_problem_explains_its_type(api: Api) -> None:
    problem = await api.refused("GET", "/models/nobody")
    told = (await api.http.get(f"http://test{problem['type']}")).json()
    assert (told["code"], told["status"]) == ("not-found", 404)


@pytest.mark.parametrize(
    ("kind", "status", "retry"),
    [
        (errors.FieldInvalid, 422, None),
        (errors.SignatureBreaking, 422, None),
        (errors.NotAuthenticated, 401, None),
        (errors.Denied, 403, None),
        (errors.RevisionConflict, 409, None),
        (errors.NothingToRollBackTo, 409, None),
        (errors.PlanChanged, 412, None),
        (errors.StoreBusy, 503, "1"),
        (errors.ServerUnreachable, 503, "1"),
        (errors.ConfigRefused, 500, None),
    ],
)
async def test_an_error_has_its_family_s_status(
    kind: type[errors.ControlPlaneError], status: int, retry: str | None
) -> None:
    error = errors.FieldInvalid("f", "m") if kind is errors.FieldInvalid else kind()
    answer = problems.problem(error, "r1")
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["status"], told["code"]) == (status, status, kind.code)
    assert answer.headers.get("retry-after") == retry
