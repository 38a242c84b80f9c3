"""What watches the process, and what describes it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import httpx

from control_plane.api.app import ApiOptions
from control_plane.services.access import Role
from tests.api.conftest import Api, serving, token
from tests.databases import sqlite_url

ROOT = "http://test"
KEY = "a key of its own"


async def test_a_process_that_runs_is_alive_and_ready(api: Api) -> None:
    assert (await api.ok("GET", f"{ROOT}/livez"))["status"] == "ok"
    assert await api.ok("GET", f"{ROOT}/readyz") == {"status": "ready"}
    told = await api.ok("GET", f"{ROOT}/readyz?verbose")
    assert told["checks"] == {"database": "ok", "migrations": "ok"}


async def test_a_process_whose_loop_is_stuck_is_not_alive(tmp_path: Path) -> None:
    async with serving(sqlite_url(tmp_path), turns=False) as api:
        answer = await api.http.get(f"{ROOT}/livez")
        assert (answer.status_code, answer.json()) == (503, {"status": "stuck"})


async def test_a_process_that_ends_is_not_ready(api: Api) -> None:
    await api.app.state.running.feed.close()
    answer = await api.http.get(f"{ROOT}/readyz?verbose")
    assert answer.status_code == 503
    assert answer.json()["checks"]["process"] == "shutting down"


async def test_requests_are_counted_by_handler(api: Api) -> None:
    await api.ok("GET", "/models")
    await api.http.get("/fleets/default/models/m/labels/stable")
    text = (await api.http.get(f"{ROOT}/metrics")).text
    counted = 'tfsctl_http_requests_total{handler="list_models",method="GET",status="200"} 1.0'
    assert counted in text
    assert 'handler="resolve_label",method="GET",status="404"' in text


async def test_the_document_describes_every_path(api: Api) -> None:
    document = await api.ok("GET", f"{ROOT}/openapi.json")
    assert "/api/v1/fleets/{fleet}/models/{model}/labels/{label}" in document["paths"]
    assert "/api/v1/fleets/{fleet}/deployments/{model}:promote" in document["paths"]
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"]


async def test_the_version_is_told(api: Api) -> None:
    assert (await api.ok("GET", f"{ROOT}/version"))["api"] == "v1"


async def test_answers_carry_the_headers_that_browsers_heed(api: Api) -> None:
    for path in ("/models", f"{ROOT}/livez", "/no/such/path"):
        headers = (await api.http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"]
    assert (await api.http.get("/models")).headers["cache-control"] == "no-store"


async def test_a_crash_is_a_problem_that_tells_nothing_but_its_request(api: Api) -> None:
    async def crash() -> None:
        raise ZeroDivisionError("secret words")

    api.app.add_api_route("/crash", crash)
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ROOT) as http:
        answer = await http.get("/crash")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-server-error")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text


async def test_no_page_of_documentation_is_served_in_production(api: Api) -> None:
    assert (await api.http.get(f"{ROOT}/docs")).status_code == 404


async def test_shutting_down_is_off_unless_enabled(api: Api) -> None:
    assert (await api.refused("POST", "/admin:shutdown"))["status"] == 404


async def test_shutting_down_needs_its_key_and_is_written_down(tmp_path: Path) -> None:
    options = ApiOptions(shutdown_key=KEY)
    async with serving(sqlite_url(tmp_path), options=options) as api:
        for headers in ({}, {"X-Shutdown-Key": "another"}, {"Authorization": "Bearer another"}):
            answer = await api.http.post("/admin:shutdown", headers=headers)
            assert answer.status_code == 401
        headers = {"X-Shutdown-Key": KEY}
        assert (await api.ok("POST", "/admin:shutdown", headers=headers))["status"] == "ending"
        (told,) = (await api.ok("GET", "/events", params={"kind": "shutdown.requested"}))["items"]
        assert told["actor"] == "local"


async def test_the_key_alone_opens_nothing_but_the_shutdown(tmp_path: Path) -> None:
    options = ApiOptions(shutdown_key=KEY)
    bearer = {"Authorization": f"Bearer {KEY}"}
    async with serving(sqlite_url(tmp_path), auth_required=True, options=options) as api:
        assert (await api.refused("GET", "/models", headers=bearer))["status"] == 401
        assert (await api.ok("POST", "/admin:shutdown", headers=bearer))["status"] == "ending"


async def test_an_admins_token_without_the_key_ends_nothing(tmp_path: Path) -> None:
    options = ApiOptions(shutdown_key=KEY)
    async with serving(sqlite_url(tmp_path), auth_required=True, options=options) as api:
        secret = await token(api.db, "ada", Role.ADMIN)
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await api.refused("POST", "/admin:shutdown", headers=headers))["status"] == 401
        headers["X-Shutdown-Key"] = KEY
        await api.ok("POST", "/admin:shutdown", headers=headers)


async def test_while_it_starts_a_process_is_not_ended(tmp_path: Path) -> None:
    options = ApiOptions(shutdown_key=KEY)
    async with serving(sqlite_url(tmp_path), options=options, started=False) as api:
        headers = {"X-Shutdown-Key": KEY}
        problem = await api.refused("POST", "/admin:shutdown", headers=headers)
        assert (problem["status"], problem["code"]) == (503, "starting")


async def test_a_newer_schema_does_not_make_a_running_process_unready(
    api: Api, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "control-plane.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
        file.commit()
    told = await api.ok("GET", f"{ROOT}/readyz?verbose")
    assert "9999, which is newer" in told["checks"]["migrations"]
