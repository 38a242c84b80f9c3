"""What is done on pages is audited as what is done over the API: by whom, and with which token."""

from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.audit import Keys
from control_plane.services.access import Role
from tests.api.conftest import serving
from tests.databases import sqlite_url
from tests.web.conftest import Web, with_pages


async def records(web: Web, secret: str) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {secret}"}
    found: list[dict[str, Any]] = (await web.api.ok("GET", "/audit", headers=headers))["items"]
    return found[::-1]


@pytest.mark.parametrize("verb", ["drain", "take_over"])
async def test_a_login_a_form_and_a_logout_have_a_record_each(tmp_path: Path, verb: str) -> None:
    keys = Keys("k" * 32)
    async with serving(sqlite_url(tmp_path), auth_required=True, audit_keys=keys) as api:
        web = with_pages(api)
        async with web.http:
            secret = await web.log_in("ada", Role.ADMIN)
            server = {"name": "one", "address": "127.0.0.1:1"}
            headers = {"Authorization": f"Bearer {secret}"}
            await api.ok("POST", "/fleets/default/servers", json=server, headers=headers)
            path = f"/ui/fleets/default/servers/one:{verb}"
            assert (await web.send(path, {"reason": "disk"})).is_redirect
            refused = await web.send(path, {}, {"Sec-Fetch-Site": "cross-site"})
            assert refused.status_code == 403
            assert (await web.send("/logout", {})).is_redirect
            told = await records(web, secret)
    assert [one["call"] for one in told] == [
        "POST /login",
        "POST /api/v1/fleets/default/servers",
        f"POST {path}",
        "POST /logout",
    ]
    assert {one["token"] for one in told} == {secret.split("_")[1]}
    assert {one["actor"] for one in told} == {"ada"}
    (change,) = told[2]["changes"]
    assert change["key"] == {"fleet": "default", "name": "one"}
