"""Hooks over the API."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.services.access import Role
from tests.api.conftest import Api, serving, token
from tests.databases import sqlite_url

HOOK = {"name": "init", "moment": "after_load", "http": {"url": "http://127.0.0.1:9/initialize"}}


async def test_a_hook_is_made_shown_listed_and_deleted(api: Api) -> None:
    answer = await api.http.post("/hooks", json=HOOK)
    assert (answer.status_code, answer.headers["location"]) == (201, "/api/v1/hooks/init")
    made = answer.json()
    assert (made["scope"], made["on_failure"], made["retries"]) == ("server", "abort", 2)
    assert await api.ok("GET", "/hooks/init") == made
    assert (await api.ok("GET", "/hooks"))["items"] == [made]
    assert await api.ok("GET", "/hooks/init/runs") == {"items": [], "next_page_token": ""}
    await api.ok("DELETE", "/hooks/init")
    assert (await api.refused("GET", "/hooks/init"))["status"] == 404


async def test_a_rehearsed_hook_is_not_there(api: Api) -> None:
    told = await api.ok("POST", "/hooks?dry_run=true", json=HOOK)
    assert told["would"]["name"] == "init"
    assert (await api.ok("GET", "/hooks"))["items"] == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("http.url", {"http": {"url": "file:///etc/passwd"}}),
        ("http.headers.Host", {"http": HOOK["http"] | {"headers": {"Host": "x"}}}),  # type: ignore[operator]
        ("http", {"command": "purge"}),
        ("timeout_s", {"timeout_s": 601}),
        ("argv", {"argv": ["/bin/sh"]}),
        ("fail_if", {"fail_if": {}}),
        ("events", {"moment": "on_event"}),
    ],
)
async def test_what_is_no_hook_is_a_422_that_names_the_field(
    api: Api, field: str, changes: dict[str, Any]
) -> None:
    problem = await api.refused("POST", "/hooks", json=HOOK | changes)
    assert problem["status"] == 422
    assert field in [one["field"] for one in problem["errors"]]


async def test_fail_if_keeps_a_null_to_compare_with(api: Api) -> None:
    rule = {"json": "error", "not_equals": None}
    made = await api.ok("POST", "/hooks", json=HOOK | {"fail_if": rule})
    assert made["fail_if"] == rule


async def test_only_admins_write_hooks_and_everybody_reads_them(tmp_path: Path) -> None:
    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        asked: dict[str, httpx.Response] = {}
        for role in Role:
            secret = await token(api.db, str(role), role)
            api.http.headers["Authorization"] = f"Bearer {secret}"
            asked[role] = await api.http.post("/hooks", json=HOOK)
            assert (await api.http.get("/hooks")).status_code == 200
        codes = [one.status_code for one in asked.values()]
        assert codes == [403, 403, 201]
