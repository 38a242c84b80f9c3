"""What the doctor says over HTTP, of servers that nobody has looked at."""

from pathlib import Path

from control_plane.services.access import Role
from tests.api.conftest import Api, serving, token
from tests.databases import sqlite_url


async def test_findings_of_a_fleet_and_of_one_server_are_the_same(api: Api) -> None:
    body = {"address": "h:1", "name": "a", "flags": {"num_load_threads": 0}}
    await api.ok("POST", "/fleets/default/servers", json=body)
    one = await api.ok("GET", "/fleets/default/servers/a/doctor")
    assert (one["server"], one["verdict"], one["status"]) == ("a", "problem", "not_taken_over")
    threads = next(each for each in one["findings"] if each["check"] == "load-threads")
    assert threads["verdict"] == "problem"
    assert "--num_load_threads" in threads["fix"]
    all_of_it = await api.ok("GET", "/fleets/default/doctor")
    assert (all_of_it["fleet"], all_of_it["verdict"]) == ("default", "problem")
    assert [each["server"] for each in all_of_it["servers"]] == ["a"]


async def test_a_fleet_without_servers_has_no_problem(api: Api) -> None:
    found = await api.ok("GET", "/fleets/default/doctor")
    assert found == {"fleet": "default", "verdict": "ok", "servers": []}


async def test_who_does_not_exist_is_not_found(api: Api) -> None:
    for path in ("/fleets/eu/doctor", "/fleets/default/servers/a/doctor"):
        assert (await api.refused("GET", path))["code"] == "not-found"


async def test_whoever_may_look_may_ask_the_doctor(tmp_path: Path) -> None:
    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        headers = {"Authorization": f"Bearer {await token(api.db, 'vera', Role.VIEWER)}"}
        await api.ok("GET", "/fleets/default/doctor", headers=headers)
        assert (await api.refused("GET", "/fleets/default/doctor"))["status"] == 401


async def test_flags_that_are_left_out_stay_and_null_forgets_one(api: Api) -> None:
    flags = {"num_load_threads": 2, "grpc_max_threads": 32}
    body = {"address": "h:1", "name": "a", "flags": flags}
    await api.ok("POST", "/fleets/default/servers", json=body)
    path = "/fleets/default/servers/a"
    changed = await api.ok("PATCH", path, json={"flags": {"grpc_max_threads": 64}})
    assert changed["flags"] == {"num_load_threads": 2, "grpc_max_threads": 64}
    changed = await api.ok("PATCH", path, json={"flags": {"num_load_threads": None}})
    assert changed["flags"] == {"grpc_max_threads": 64}
