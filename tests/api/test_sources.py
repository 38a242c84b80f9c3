"""Sources over the API; what they find is for the loop's own tests."""

from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.source import Report
from control_plane.store import fleets, sources
from tests.api.conftest import Api, serving, token
from tests.databases import sqlite_url

PATH = "/fleets/default/sources"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "servers"
    made.write_text("10.0.0.7:8500\n10.0.0.8:8500\n")
    return made


def a_file(file: Path, **more: Any) -> dict[str, Any]:
    return {"name": "found", "kind": "file", "path": str(file)} | more


async def test_a_source_is_created_shown_changed_and_deleted(api: Api, file: Path) -> None:
    made = await api.http.post(PATH, json=a_file(file, flags={"num_load_threads": 2}))
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/api/v1/fleets/default/sources/found"
    assert (made.json()["grace_s"], made.json()["flags"]) == (300.0, {"num_load_threads": 2})
    assert api.nudges.fleets == ["default"]
    change = {"grace_s": 60, "flags": {"max_num_load_retries": 0}, "memory_bytes": 8}
    changed = await api.ok("PATCH", f"{PATH}/found", json=change)
    assert changed["flags"] == {"num_load_threads": 2, "max_num_load_retries": 0}
    assert (changed["grace_s"], changed["memory_bytes"]) == (60, 8)
    forgotten = await api.ok("PATCH", f"{PATH}/found", json={"memory_bytes": None})
    assert forgotten["memory_bytes"] is None
    assert [one["name"] for one in (await api.ok("GET", PATH))["items"]] == ["found"]
    await api.ok("DELETE", f"{PATH}/found")
    assert (await api.refused("GET", f"{PATH}/found"))["status"] == 404
    kinds = [one["kind"] for one in (await api.ok("GET", "/events"))["items"]]
    assert kinds == ["source.created", "source.changed", "source.changed", "source.deleted"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "dns", "path": "", "host": "h"}, "port"),
        ({"kind": "srv", "path": ""}, "host"),
        ({"kind": "consul"}, "kind"),
        ({"path": "servers"}, "path"),
        ({"port": 1}, "port"),
        ({"grace_s": 0}, "grace_s"),
        ({"name": "a b"}, "name"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_source_that_cannot_be_is_refused_by_field(
    api: Api, file: Path, wrong: dict[str, Any], field: str
) -> None:
    problem = await api.refused("POST", PATH, json=a_file(file) | wrong)
    assert problem["status"] == 422
    assert field in problem["errors"][0]["field"]


async def test_a_source_that_lists_nothing_is_refused_unless_it_will(
    api: Api, tmp_path: Path
) -> None:
    body = a_file(tmp_path / "not yet")
    problem = await api.refused("POST", PATH, json=body)
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "path")
    assert "force" in problem["hint"]
    (tmp_path / "empty").touch()
    empty = await api.refused("POST", PATH, json=a_file(tmp_path / "empty"))
    assert "lists no server" in empty["detail"]
    assert (await api.ok("POST", PATH, json=body | {"force": True}))["name"] == "found"
    elsewhere = {"path": str(tmp_path / "nor this")}
    moved = await api.refused("PATCH", f"{PATH}/found", json=elsewhere)
    assert moved["errors"][0]["field"] == "path"
    forced = await api.ok("PATCH", f"{PATH}/found", json=elsewhere | {"force": True})
    assert forced["path"] == elsewhere["path"]


async def test_two_sources_do_not_look_at_one_place(api: Api, file: Path) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu"})
    await api.ok("POST", PATH, json=a_file(file))
    for fleet, name in (("default", "found"), ("default", "other"), ("eu", "found")):
        body = a_file(file, name=name)
        problem = await api.refused("POST", f"/fleets/{fleet}/sources", json=body)
        assert problem["code"] == "already-exists", (fleet, name)


async def test_a_fleet_that_looks_for_servers_is_not_deleted(api: Api, file: Path) -> None:
    await api.ok("POST", PATH, json=a_file(file))
    assert (await api.refused("DELETE", "/fleets/default"))["held"] == ["source found"]


async def found(api: Api, address: str, *listed: str) -> str:
    """Have a server that the source found; return its path."""
    body = {"address": address, "name": "a", "take_over": True}
    await api.ok("POST", "/fleets/default/servers", json=body)
    async with api.db.begin() as s:
        server = await fleets.server(s, "default", "a")
        values = {"source": "found", "joined": False}
        await fleets.save_server(s, _with(server, values), None)
        await sources.save_report(s, "default", "found", Report(addresses=listed))
    return "/fleets/default/servers/a"


def _with(server: Any, values: dict[str, Any]) -> Any:
    return type(server)(**{name: getattr(server, name) for name in server.__slots__} | values)


async def test_who_a_source_lists_is_neither_moved_nor_removed_by_hand(
    api: Api, file: Path
) -> None:
    await api.ok("POST", PATH, json=a_file(file))
    server = await found(api, "10.0.0.7:8500", "10.0.0.7:8500")
    shown = await api.ok("GET", server)
    assert (shown["source"], shown["joined"]) == ("found", False)
    assert (await api.refused("DELETE", server))["code"] == "still-in-use"
    moved = await api.refused("PATCH", server, json={"address": "h:1"})
    assert moved["code"] == "still-in-use"
    assert (await api.ok("PATCH", server, json={"memory_bytes": 8}))["memory_bytes"] == 8
    async with api.db.begin() as s:
        await sources.save_report(s, "default", "found", Report())
    await api.ok("DELETE", server)


async def test_servers_stay_when_their_source_is_deleted_unless_they_go_along(
    api: Api, file: Path
) -> None:
    await api.ok("POST", PATH, json=a_file(file))
    server = await found(api, "10.0.0.7:8500", "10.0.0.7:8500")
    await api.ok("DELETE", f"{PATH}/found")
    shown = await api.ok("GET", server)
    assert (shown["source"], shown["joined"]) == ("", True)
    await api.ok("DELETE", server)
    await api.ok("POST", PATH, json=a_file(file))
    await found(api, "10.0.0.7:8500", "10.0.0.7:8500")
    await api.ok("DELETE", f"{PATH}/found", params={"with_servers": "true"})
    assert (await api.ok("GET", "/fleets/default/servers"))["items"] == []


async def test_a_dry_run_creates_nothing(api: Api, file: Path) -> None:
    told = await api.ok("POST", PATH, json=a_file(file), params={"dry_run": "true"})
    assert told["would"]["name"] == "found"
    assert (await api.ok("GET", PATH))["items"] == []


async def test_only_an_admin_says_where_servers_are_found(tmp_path: Path, file: Path) -> None:
    from control_plane.services.access import Role

    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        secrets = {role: await token(api.db, str(role), role) for role in Role}
        codes = {
            role: (
                await api.http.post(
                    PATH, json=a_file(file), headers={"Authorization": f"Bearer {secret}"}
                )
            ).status_code
            for role, secret in secrets.items()
        }
    assert codes[Role.ADMIN] == 201
    assert {code for role, code in codes.items() if role is not Role.ADMIN} == {403}
