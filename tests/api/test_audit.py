"""Every call that changes something is audited, once, with who did it and what it changed."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api.parts import ApiOptions
from control_plane.domain.audit import Keys
from control_plane.services.access import Role
from tests.api.conftest import MODELS, Api, serving, token
from tests.databases import sqlite_url

KEYS = Keys("k" * 32)
KEY = "s" * 43
CANARY = "canary-3c1f"
FLEET, HALF = "/fleets/default", "/fleets/default/deployments/half_plus_two"
POLICY = "model_version_policy { specific { versions: 1 } }"
CONFIG = f'config {{ name: "third" base_path: "{MODELS}/half_plus_two" {POLICY} }}'
HOOK = {"moment": "on_event", "events": ["model.created"]}
CALL = {"url": "http://127.0.0.1:9/", "headers": {"Authorization": CANARY}}
STORY: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/models", {"name": "half_plus_two", "base_path": f"{MODELS}/half_plus_two"}),
    ("PATCH", "/models/half_plus_two", {"owner": "ada"}),
    ("POST", "/models/half_plus_two/versions", {"version": 1}),
    ("POST", "/models/half_plus_two/versions:scan", None),
    ("PATCH", "/models/half_plus_two/versions/1", {"description": "first"}),
    ("POST", "/models/half_plus_two/request-sets/some", '{"instances": [1.0]}\n'),
    ("DELETE", "/models/half_plus_two/request-sets/some", None),
    ("PUT", "/strategies/slow", {"steps": ["load", "promote"]}),
    ("DELETE", "/strategies/slow", None),
    ("POST", "/tokens", {"name": "robot", "role": "viewer"}),
    ("DELETE", "/tokens/robot", None),
    ("POST", "/hooks", HOOK | {"name": "told", "http": CALL}),
    ("DELETE", "/hooks/told", None),
    ("POST", "/fleets", {"name": "eu"}),
    ("PATCH", "/fleets/eu", {"description": "far away"}),
    ("DELETE", "/fleets/eu", None),
    ("POST", f"{FLEET}/sources", {"name": "f", "kind": "file", "path": "/none", "force": True}),
    ("PATCH", f"{FLEET}/sources/f", {"grace_s": 60}),
    ("DELETE", f"{FLEET}/sources/f", None),
    ("POST", f"{FLEET}:import", {"config": f"model_config_list {{ {CONFIG} }}"}),
    ("DELETE", f"{FLEET}/deployments/third", None),
    ("PUT", HALF, {"versions": [1], "labels": {"stable": 1}}),
    ("PUT", HALF, {"versions": [1], "labels": {"stable": 1}}),  # changes nothing, and was asked
    ("POST", f"{HALF}:promote", {"version": 2}),
    ("POST", f"{HALF}:rollback", {"reason": "worse"}),
    ("POST", f"{HALF}:resume-hold", None),
    ("POST", f"{FLEET}/promotions", {"items": [{"model": "half_plus_two", "version": 2}]}),
    ("POST", f"{FLEET}/revisions/3:restore", {"force": True}),
    ("POST", f"{HALF}:retire", {"versions": [2]}),
    ("POST", f"{FLEET}/servers", {"address": "127.0.0.1:1", "name": "one", "take_over": True}),
    ("POST", f"{FLEET}/servers/one:drain", None),
    ("POST", f"{FLEET}/servers/one:undrain", None),
    ("POST", f"{FLEET}/servers/one:enforce", None),
    ("POST", f"{HALF}:promote", {"version": 3, "supersede": True}),
    ("POST", "/rollouts/LIVE:pause", None),
    ("PATCH", f"{FLEET}/servers/one", {"memory_bytes": 1}),
    ("DELETE", f"{FLEET}/servers/one", None),
    ("DELETE", "/models/third/versions/1", None),
    ("DELETE", "/models/third", None),
    ("POST", "/admin:shutdown", None),
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    url = sqlite_url(tmp_path)
    options = ApiOptions(shutdown_key=KEY)
    async with serving(url, auth_required=True, options=options, audit_keys=KEYS) as made:
        secret = await token(made.db, "ada", Role.ADMIN)
        made.http.headers["Authorization"] = f"Bearer {secret}"
        yield made


async def records(api: Api, **wanted: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ok("GET", "/audit", params=wanted))["items"]
    return found


async def send(api: Api, method: str, path: str, body: Any, **more: str) -> httpx.Response:
    if "LIVE" in path:
        path = path.replace("LIVE", (await api.ok("GET", "/rollouts"))["items"][0]["id"])
    uploaded = isinstance(body, str)
    headers = {"X-Shutdown-Key": KEY, **more} | (
        {"Content-Type": "application/x-ndjson"} if uploaded else {}
    )
    told: Mapping[str, Any] = {"content": body} if uploaded else {"json": body} if body else {}
    return await api.http.request(method, path, headers=headers, **told)


async def test_each_call_that_changes_something_has_one_record_of_its_own(api: Api) -> None:
    walked: set[tuple[str, str]] = set()
    for n, (method, path, body) in enumerate(STORY, 1):
        answer = await send(api, method, path, body, **{"X-Request-Id": f"r-{n}"})
        assert answer.is_success, (method, path, answer.text)
        found = await records(api)
        assert len(found) == n, (method, path)
        assert (found[0]["seq"], found[0]["request"]) == (n, f"r-{n}")
        assert (found[0]["actor"], found[0]["address"]) == ("ada", "127.0.0.1")
        assert "document" not in found[0]
        assert found[0]["call"].startswith(f"{method} /api/v1{path.partition('LIVE')[0]}")
        walked.add((method, _route(api, method, answer.request.url.path)))
    assert walked == set(_writes(api))


def _writes(api: Api) -> Iterator[tuple[str, str]]:
    for path, verbs in api.app.openapi()["paths"].items():
        if not path.endswith(":predict"):
            yield from ((verb.upper(), path) for verb in verbs if verb != "get")


def _route(api: Api, method: str, path: str) -> str:
    """The route that a call went to: it has the fewest parameters of those that fit."""
    fits = [
        one
        for verb, one in _writes(api)
        if verb == method and re.fullmatch(re.sub(r"{\w+}", "[^/:]+", one), path)
    ]
    return min(fits, key=lambda one: one.count("{"))


async def test_what_changed_is_told_as_it_was_and_as_it_is(api: Api) -> None:
    for method, path, body in STORY[:23]:
        await send(api, method, path, body)
    await api.ok("POST", f"{HALF}:promote", json={"version": 2, "reason": "better"})
    (told,) = await records(api, page_size=1)
    (moved,) = [one for one in told["changes"] if one["of"] == "deployments"]
    assert moved["key"] == {"fleet": "default", "model": "half_plus_two"}
    assert moved["before"]["document"]["labels"] == {"stable": 1}
    assert moved["after"]["document"]["labels"] == {"stable": 2}
    kinds = [(one["kind"], one.get("reason")) for one in told["events"]]
    assert ("rollout.started", "better") in kinds
    revoked = next(one for one in await records(api) if "DELETE /api/v1/tokens" in one["call"])
    (change,) = revoked["changes"]
    assert (change["of"], change["before"]) == ("tokens", {"revoked_at": None})


async def test_secrets_are_in_no_record(api: Api) -> None:
    secret = (await api.ok("POST", "/tokens", json={"name": "bob", "role": "viewer"}))["token"]
    await api.ok("POST", "/hooks", json=HOOK | {"name": "told", "http": CALL})
    await api.ok("DELETE", "/hooks/told")
    told = str(await records(api))
    assert "told" in told
    for one in (CANARY, secret, secret.rsplit("_", 1)[1], api.http.headers["Authorization"][7:]):
        assert one not in told


async def test_what_changes_nothing_has_no_record(api: Api) -> None:
    body, key = {"name": "eu"}, {"Idempotency-Key": "k1"}
    await api.ok("POST", "/fleets?dry_run=true", json=body)
    await api.refused("POST", "/fleets", json={"name": "!"})
    await api.ok("GET", "/fleets")
    assert await records(api) == []
    for _ in range(2):
        await api.ok("POST", "/fleets", json=body, headers=key)
    await api.refused("POST", "/fleets", json=body)
    assert len(await records(api)) == 1


async def test_records_are_found_by_who_when_and_which_request_and_come_in_pages(api: Api) -> None:
    for name in ("a", "b", "c"):
        headers = {"X-Request-Id": f"make-{name}"}
        await api.ok("POST", "/fleets", json={"name": name}, headers=headers)
    c, b, a = await records(api)
    assert [one["seq"] for one in (a, b, c)] == [1, 2, 3]
    assert await records(api, request="make-b") == [b]
    assert await records(api, since=b["at"]) == [c, b]
    assert await records(api, until=b["at"]) == [a]
    assert await records(api, actor="eve") == []
    assert await records(api, token=a["token"]) == [c, b, a]
    page = await api.ok("GET", "/audit", params={"page_size": 2})
    assert page["items"] == [c, b]
    rest = {"page_size": 2, "page_token": page["next_page_token"]}
    assert await api.ok("GET", "/audit", params=rest) == {"items": [a], "next_page_token": ""}


async def test_the_chain_is_verified_over_the_api(api: Api) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu"})
    told = await api.ok("GET", "/audit:verify")
    assert told == {"ok": True, "checked": 1, "first": 1, "wrong": 0, "faults": []}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_look_at_it(api: Api, role: Role) -> None:
    headers = {"Authorization": f"Bearer {await token(api.db, 'bob', role)}"}
    for path in ("/audit", "/audit:verify"):
        assert (await api.refused("GET", path, headers=headers))["code"] == "denied"
