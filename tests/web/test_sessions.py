"""Log in with a token; the session ends with the time, the logout or the token."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from control_plane.services import access, sessions
from control_plane.services.access import Role
from control_plane.services.commit import nothing_more
from tests.api.conftest import now, token
from tests.web.conftest import Web, members


async def test_who_is_not_logged_in_is_sent_to_the_login_and_back(guarded: Web) -> None:
    answer = await guarded.get("/?state=degraded")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2F%3Fstate%3Ddegraded"
    login = await guarded.get(answer.headers["location"])
    assert 'name="next" value="/?state=degraded"' in login.text
    await guarded.log_in("ada", Role.ADMIN)
    assert (await guarded.get("/?state=degraded")).status_code == 200


async def test_a_part_of_a_page_has_its_page_log_in(guarded: Web) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://test/?state=rolling"}
    answer = await guarded.get("/ui/overview", **headers)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=%2F%3Fstate%3Drolling"


async def test_a_wrong_token_is_refused_and_gets_no_cookie(guarded: Web) -> None:
    answer = await guarded.send("/login", {"token": "cp_x_" + "a" * 43})
    assert answer.status_code == 401
    assert "was revoked or has expired" in answer.text
    assert "set-cookie" not in answer.headers


async def test_the_cookie_is_the_browsers_alone_and_the_database_has_only_its_hash(
    guarded: Web,
) -> None:
    secret = await access_token(guarded)
    answer = await guarded.send("/login", {"token": f" {secret}\n"})
    assert members(answer) == {"httponly", "samesite=lax", "path=/", f"max-age={12 * 3600}"}
    session_id = guarded.http.cookies["tfsctl_session"]
    assert len(session_id) == 43
    async with guarded.api.db.read() as s:
        rows = (await s.execute(text("SELECT * FROM web_sessions"))).all()
    assert len(rows) == 1
    assert session_id not in str(rows)
    assert secret not in str(rows)


async def test_behind_tls_the_cookie_never_travels_without(guarded: Web) -> None:
    secret = await access_token(guarded)
    transport = httpx.ASGITransport(app=guarded.api.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://test") as http:
        headers = {"Origin": "https://test"}
        answer = await http.post("/login", data={"token": secret}, headers=headers)
    assert answer.status_code == 303
    assert "secure" in members(answer)


async def test_logging_out_ends_the_session_also_for_who_copied_the_cookie(guarded: Web) -> None:
    await guarded.log_in("ada", Role.VIEWER)
    copied = guarded.http.cookies["tfsctl_session"]
    answer = await guarded.send("/logout", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "tfsctl_session" not in guarded.http.cookies
    again = await guarded.get("/", Cookie=f"tfsctl_session={copied}")
    assert again.status_code == 303


async def test_a_revoked_token_ends_its_session_at_once(guarded: Web) -> None:
    await guarded.log_in("ada", Role.VIEWER)
    assert (await guarded.get("/")).status_code == 200
    await access.revoke(guarded.api.db, "ada", actor="test", now=now(), commit=nothing_more)
    assert (await guarded.get("/")).status_code == 303


@pytest.mark.parametrize(("age_s", "there"), [(12 * 3600 - 60, True), (12 * 3600, False)])
async def test_a_session_lasts_twelve_hours(guarded: Web, age_s: int, there: bool) -> None:
    secret, begun = await access_token(guarded), now()
    running = guarded.api.app.state.running
    await sessions.begin(guarded.api.db, running.access, sessions.Login(secret, "s" * 43, begun))
    later = begun + timedelta(seconds=age_s)
    assert (await sessions.actor(guarded.api.db, "s" * 43, later) is not None) is there


async def test_sessions_that_are_over_are_forgotten_when_the_next_begins(guarded: Web) -> None:
    secret, access_ = await access_token(guarded), guarded.api.app.state.running.access
    long_ago = now() - timedelta(hours=13)
    await sessions.begin(guarded.api.db, access_, sessions.Login(secret, "s" * 43, long_ago))
    await guarded.send("/login", {"token": secret})
    async with guarded.api.db.read() as s:
        assert (await s.execute(text("SELECT count(*) FROM web_sessions"))).scalar() == 1


async def test_where_no_tokens_are_asked_for_nobody_logs_in(web: Web) -> None:
    assert (await web.get("/")).status_code == 200
    answer = await web.get("/login?next=/?state=rolling")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?state=rolling")


@pytest.mark.parametrize("wanted", ["//evil.test/", "https://evil.test/", "/\\evil.test", "/\r\nx"])
async def test_a_login_leads_to_no_other_site(guarded: Web, wanted: str) -> None:
    secret = await access_token(guarded)
    answer = await guarded.send("/login", {"token": secret, "next": wanted})
    assert answer.headers["location"] == "/"


FOREIGN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://test"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_what_no_page_of_ours_sent_is_refused(guarded: Web, headers: dict[str, Any]) -> None:
    await guarded.log_in("ada", Role.ADMIN)
    answer = await guarded.send("/logout", {}, headers)
    assert answer.status_code == 403
    assert (await guarded.get("/")).status_code == 200


async def test_an_old_browser_is_known_by_its_origin(guarded: Web) -> None:
    await guarded.log_in("ada", Role.ADMIN)
    answer = await guarded.send("/logout", {}, {"Origin": "http://test"})
    assert answer.status_code == 303


async def access_token(web: Web) -> str:
    return await token(web.api.db, "grace", Role.ADMIN)
