"""Tokens and roles: every route has a rule, and the rules are kept."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from control_plane.domain.errors import NotAuthenticated
from control_plane.services import access
from control_plane.services.access import Access, Role
from control_plane.store import tokens
from tests.api.conftest import MODELS, Api, new_id, new_secret, now, serving, token
from tests.databases import sqlite_url

OPEN = {"/livez", "/readyz", "/metrics", "/version", "/openapi.json", "/problems/{code}"}
ADMINS = {
    ("DELETE", "/api/v1/models/{model}"),
    ("DELETE", "/api/v1/models/{model}/versions/{version}"),
    ("DELETE", "/api/v1/fleets/{fleet}"),
    ("DELETE", "/api/v1/fleets/{fleet}/servers/{server}"),
    ("POST", "/api/v1/hooks"),
    ("DELETE", "/api/v1/hooks/{name}"),
    ("DELETE", "/api/v1/models/{model}/request-sets/{name}"),
    ("POST", "/api/v1/fleets/{fleet}/sources"),
    ("PATCH", "/api/v1/fleets/{fleet}/sources/{source}"),
    ("DELETE", "/api/v1/fleets/{fleet}/sources/{source}"),
    ("POST", "/api/v1/tokens"),
    ("GET", "/api/v1/tokens"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/audit:verify"),
    ("DELETE", "/api/v1/tokens/{name}"),
    ("POST", "/api/v1/admin:shutdown"),
}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(sqlite_url(tmp_path), auth_required=True) as running:
        yield running


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def routes(api: Api) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers."""
    for one in iter_route_contexts(api.app.router.routes):
        path = str(one.path)
        for method in sorted((one.methods or set()) - {"HEAD"}):
            yield method, path


def needed(method: str, path: str) -> Role | None:
    """The role that a route asks for, by the rule; None where nobody is asked."""
    if path in OPEN:
        return None
    if (method, path) in ADMINS:
        return Role.ADMIN
    return Role.VIEWER if method == "GET" or path.endswith(":predict") else Role.OPERATOR


async def statuses(api: Api, secret: str | None) -> dict[tuple[str, str], int]:
    """What every route answers to that token, with nothing in the request."""
    found = {}
    header = bearer(secret) if secret else {}
    for method, path in routes(api):
        filled = re.sub(r"\{(version|number)\}", "1", path)
        filled = re.sub(r"\{verb\}", "pause", filled)
        filled = re.sub(r"\{[a-z]+\}", "x", filled)
        if filled.endswith(":stream"):
            filled += "?after=-1"  # refused before it streams
        answer = await api.http.request(method, f"http://test{filled}", headers=header)
        found[method, path] = answer.status_code
    return found


async def test_without_a_token_only_the_open_paths_answer(guarded: Api) -> None:
    for key, status in (await statuses(guarded, None)).items():
        assert (status == 401) == (needed(*key) is not None), (key, status)
    unknown = await guarded.refused("GET", "/no/such/path")
    assert (unknown["status"], unknown["code"]) == (401, "not-authenticated")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_every_route_asks_for_the_role_of_the_rule(guarded: Api, role: Role) -> None:
    order = list(Role)
    secret = await token(guarded.db, "somebody", role)
    found = await statuses(guarded, secret)
    assert len(found) > 50
    for key, status in found.items():
        wanted = needed(*key)
        denied = wanted is not None and order.index(wanted) > order.index(role)
        assert (status == 403) == denied, (key, status)


async def test_no_route_of_the_framework_lacks_a_rule(guarded: Api) -> None:
    for one in iter_route_contexts(guarded.app.router.routes):
        if isinstance(one.original_route, APIRoute) and str(one.path).startswith("/api/v1"):
            assert any(
                name in str(one.original_route.dependant.dependencies)
                for name in ("viewer", "operator", "admin")
            ), one.path


async def test_an_admin_makes_lists_and_revokes_tokens(guarded: Api) -> None:
    admin = bearer(await token(guarded.db, "root", Role.ADMIN))
    body = {"name": "ci", "role": "operator"}
    made = await guarded.ok("POST", "/tokens", json=body, headers=admin)
    assert re.fullmatch(r"cp_[a-z0-9]+_[A-Za-z0-9_-]{43}", made["token"])
    listed = await guarded.ok("GET", "/tokens", headers=admin)
    assert [one["name"] for one in listed["items"]] == ["root", "ci"]
    assert made["token"] not in str(listed)
    ci = bearer(made["token"])
    await guarded.ok("GET", "/models", headers=ci)
    await guarded.ok("DELETE", "/tokens/ci", headers=admin)
    assert (await guarded.refused("GET", "/models", headers=ci))["status"] == 401
    again = await guarded.refused(
        "POST", "/tokens", json={"name": "root", "role": "admin"}, headers=admin
    )
    assert again["code"] == "already-exists"


async def test_the_actor_of_a_write_is_the_name_of_the_token(guarded: Api) -> None:
    header = bearer(await token(guarded.db, "ci", Role.OPERATOR))
    body = {"name": "m", "base_path": str(MODELS / "half_plus_two")}
    assert (await guarded.ok("POST", "/models", json=body, headers=header))["created_by"] == "ci"
    (event,) = (await guarded.ok("GET", "/events", params={"model": "m"}, headers=header))["items"]
    assert event["actor"] == "ci"


async def test_a_replay_of_a_new_token_does_not_tell_its_secret(guarded: Api) -> None:
    header = bearer(await token(guarded.db, "root", Role.ADMIN)) | {"Idempotency-Key": "k"}
    body = {"name": "ci", "role": "viewer"}
    assert "token" in await guarded.ok("POST", "/tokens", json=body, headers=header)
    assert "token" not in await guarded.ok("POST", "/tokens", json=body, headers=header)


@pytest.mark.parametrize("text", ["", "Bearer", "Bearer x", "Basic abc", "Bearer cp_a_" + "b" * 43])
async def test_what_is_not_one_of_our_tokens_is_refused(guarded: Api, text: str) -> None:
    problem = await guarded.refused("GET", "/models", headers={"Authorization": text})
    assert (problem["status"], problem["code"]) == (401, "not-authenticated")


async def test_a_token_with_another_secret_is_refused(guarded: Api) -> None:
    secret = await token(guarded.db, "ci", Role.ADMIN)
    other = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert (await guarded.http.get("/models", headers=bearer(other))).status_code == 401


async def test_a_revoked_or_expired_token_is_believed_for_seconds_only(guarded: Api) -> None:
    at = now()
    clock = [at]
    checker = Access(guarded.db, lambda: clock[0])
    secret = await token(guarded.db, "ci", Role.VIEWER)
    assert (await checker.check(secret)).name == "ci"
    async with guarded.db.begin() as s:
        await tokens.revoke(s, "ci", at)
    clock[0] = at + timedelta(seconds=access.BELIEF_S + 0.1)
    with pytest.raises(NotAuthenticated):
        await checker.check(secret)


async def test_only_the_hash_of_a_token_is_stored(guarded: Api, tmp_path: Path) -> None:
    secret = await token(guarded.db, "ci", Role.VIEWER)
    files = [one.read_bytes() for one in tmp_path.iterdir() if one.is_file()]
    assert files
    assert not any(secret[-43:].encode() in one for one in files)


async def test_the_first_admin_is_made_once(guarded: Api) -> None:
    made = await access.first_admin(guarded.db, id_=new_id(), secret=new_secret(), now=now())
    assert made is not None
    assert (await guarded.http.get("/tokens", headers=bearer(made.secret))).status_code == 200
    again = await access.first_admin(guarded.db, id_=new_id(), secret=new_secret(), now=now())
    assert again is None


async def test_the_last_admin_stays(guarded: Api) -> None:
    header = bearer(await token(guarded.db, "root", Role.ADMIN))
    problem = await guarded.refused("DELETE", "/tokens/root", headers=header)
    assert (problem["status"], problem["code"]) == (409, "still-in-use")
    await token(guarded.db, "next", Role.ADMIN)
    await guarded.ok("DELETE", "/tokens/root", headers=header)


async def test_last_use_is_written_when_the_application_ends(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    async with serving(url, auth_required=True) as first:
        secret = await token(first.db, "ci", Role.ADMIN)
        await first.ok("GET", "/models", headers=bearer(secret))
    async with serving(url, auth_required=True) as second:
        (listed,) = (await second.ok("GET", "/tokens", headers=bearer(secret)))["items"]
        assert listed["last_used_at"]


async def test_the_hot_path_asks_for_a_token_too(guarded: Api) -> None:
    path = "/fleets/default/models/m/labels/stable"
    assert (await guarded.refused("GET", path))["status"] == 401
    header = bearer(await token(guarded.db, "ci", Role.VIEWER))
    assert (await guarded.refused("GET", path, headers=header))["status"] == 404
