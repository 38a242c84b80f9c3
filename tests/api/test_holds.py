"""Tokens of services, and holds, over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.services.access import Role
from tests.api.conftest import MODELS, Api, serving, token
from tests.api.test_access import bearer
from tests.databases import sqlite_url

M = "/fleets/default/deployments/half_plus_two"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(sqlite_url(tmp_path), auth_required=True) as running:
        yield running


async def test_a_service_token_may_not_promote_what_was_rolled_back_from(guarded: Api) -> None:
    api, person = guarded, bearer(await token(guarded.db, "ada", Role.ADMIN))
    body = {"name": "ci", "role": "operator", "kind": "service"}
    made = await api.ok("POST", "/tokens", json=body, headers=person)
    assert made["kind"] == "service"
    service = bearer(made["token"])
    model = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
    await api.ok("POST", "/models", json=model, headers=service)
    await api.ok("POST", "/models/half_plus_two/versions:scan", headers=service)
    put = {"versions": [1], "labels": {"stable": 1}, "force": True}
    await api.ok("PUT", M, json=put, headers=service)
    promote = {"version": 2, "force": True}
    await api.ok("POST", f"{M}:promote", json=promote, headers=service)
    await api.ok("POST", f"{M}:rollback", json={"reason": "worse"}, headers=service)
    problem = await api.refused("POST", f"{M}:promote", json=promote, headers=service)
    assert (problem["status"], problem["code"]) == (403, "held")
    assert "resume-hold" in problem["hint"]
    (hold,) = (await api.ok("GET", f"{M}/holds", headers=service))["items"]
    assert (hold["version"], hold["actor"], hold["reason"]) == (2, "ci", "worse")
    problem = await api.refused("POST", f"{M}:resume-hold", headers=service)
    assert (problem["status"], problem["code"]) == (403, "held")
    dry = {"dry_run": "true"}
    rehearsed = await api.ok("POST", f"{M}:resume-hold", params=dry, headers=person)
    assert rehearsed["would"]["changed"]
    resumed = await api.ok("POST", f"{M}:resume-hold", headers=person)
    assert [one["version"] for one in resumed["resumed"]] == [2]
    again = await api.ok("POST", f"{M}:resume-hold", headers=person)
    assert again == {"changed": False, "resumed": []}
    assert (await api.ok("POST", f"{M}:promote", json=promote, headers=service))["changed"]
