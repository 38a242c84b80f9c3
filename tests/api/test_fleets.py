"""Fleets and servers."""

from tests.api.conftest import MODELS, Api, half_plus_two


async def test_the_fleet_default_exists_from_the_start(api: Api) -> None:
    assert [one["name"] for one in (await api.ok("GET", "/fleets"))["items"]] == ["default"]


async def test_a_fleet_is_created_changed_and_deleted(api: Api) -> None:
    made = await api.ok("POST", "/fleets", json={"name": "eu", "path_map": {"/m/": "/data"}})
    assert made["path_map"] == {"/m": "/data"}
    changed = await api.ok("PATCH", "/fleets/eu", json={"max_unavailable": 2})
    assert (changed["max_unavailable"], changed["path_map"]) == (2, {"/m": "/data"})
    await api.ok("DELETE", "/fleets/eu")
    assert (await api.refused("GET", "/fleets/eu"))["code"] == "not-found"


async def test_a_path_map_is_absolute(api: Api) -> None:
    body = {"name": "eu", "path_map": {"models": "/data"}}
    problem = await api.refused("POST", "/fleets", json=body)
    assert problem["errors"][0]["field"] == "path_map"


async def test_boot_configs_need_a_folder_that_we_can_write_to(api: Api) -> None:
    for folder, text in {"boot": "absolute", "s3://b/boot": "file system", "/a/../b": ".."}.items():
        body = {"name": "eu", "boot_config_dir": folder}
        problem = await api.refused("POST", "/fleets", json=body)
        assert problem["errors"][0]["field"] == "boot_config_dir", folder
        assert text in problem["detail"]
    changed = await api.ok("PATCH", "/fleets/default", json={"boot_config_dir": "/boot/"})
    assert changed["boot_config_dir"] == "/boot"
    blind = await api.refused("PATCH", "/fleets/default", json={"storage": "opaque"})
    assert blind["errors"][0]["field"] == "boot_config_dir"
    off = {"storage": "opaque", "boot_config_dir": ""}
    assert (await api.ok("PATCH", "/fleets/default", json=off))["boot_config_dir"] == ""


async def test_a_path_map_stays_while_something_is_deployed(api: Api) -> None:
    await half_plus_two(api, 1)
    put = {"versions": [1], "labels": {"stable": 1}}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=put)
    change = {"path_map": {"/models": str(MODELS)}}
    assert (await api.refused("PATCH", "/fleets/default", json=change))["code"] == "still-in-use"
    await api.ok("PATCH", "/fleets/default", json={"description": "words may change"})


async def test_a_fleet_that_serves_cannot_be_deleted(api: Api) -> None:
    await api.ok("POST", "/fleets/default/servers", json={"address": "127.0.0.1:1"})
    problem = await api.refused("DELETE", "/fleets/default")
    assert (problem["status"], problem["held"]) == (409, ["server 127.0.0.1-1"])


async def test_a_server_gets_its_name_from_its_address_and_is_taken_over_later(api: Api) -> None:
    made = await api.ok("POST", "/fleets/default/servers", json={"address": "10.0.0.7:8500"})
    assert (made["name"], made["taken_over"]) == ("10.0.0.7-8500", False)
    path = "/fleets/default/servers/10.0.0.7-8500"
    assert (await api.ok("GET", path))["status"] == "not_taken_over"
    taken = await api.ok("PATCH", path, json={"take_over": True})
    assert taken["taken_over"]
    kinds = [one["kind"] for one in (await api.ok("GET", "/events"))["items"]]
    assert kinds[-1] == "server.taken_over"
    assert api.nudges.fleets == ["default", "default"]


async def test_a_fleet_may_take_its_servers_over_by_itself(api: Api) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu", "take_over": "always"})
    made = await api.ok("POST", "/fleets/eu/servers", json={"address": "[fd00::7]:8500"})
    assert (made["name"], made["taken_over"]) == ("fd00--7-8500", True)


BAD_ADDRESSES = ["localhost", "localhost:", ":8500", "http://h:1", "h:0", "h:65536", "h:1/x"]
BAD_ADDRESSES += ["a\xa0b:1", "h:١", "10.0.0.300:1", "[fd00::g]:1", "fd00::7:1", "[h]:1", "a..b:1"]


async def test_an_address_is_host_and_port(api: Api) -> None:
    for address in BAD_ADDRESSES:
        body = {"address": address, "name": "a"}
        problem = await api.refused("POST", "/fleets/default/servers", json=body)
        assert problem["status"] == 422
        assert problem["errors"][0]["field"] == "address", address


async def test_an_address_belongs_to_one_server_of_all_fleets(api: Api) -> None:
    await api.ok("POST", "/fleets", json={"name": "eu"})
    await api.ok("POST", "/fleets/default/servers", json={"address": "h:1"})
    problem = await api.refused("POST", "/fleets/eu/servers", json={"address": "h:1"})
    assert (problem["code"], problem["fleet"]) == ("already-exists", "default")


async def test_one_address_in_another_spelling_is_the_same(api: Api) -> None:
    add = ("POST", "/fleets/default/servers")
    made = await api.ok(*add, json={"address": "[FD00:0::7]:08500"})
    assert (made["address"], made["name"]) == ("[fd00::7]:8500", "fd00--7-8500")
    await api.ok(*add, json={"address": "Models.Example.:8500", "name": "a"})
    for again in ("[fd00::0:7]:8500", "models.example:8500"):
        problem = await api.refused(*add, json={"address": again, "name": "b"})
        assert problem["code"] == "already-exists", again


async def test_a_server_moves_only_to_what_is_an_address(api: Api) -> None:
    await api.ok("POST", "/fleets/default/servers", json={"address": "h:1", "name": "a"})
    problem = await api.refused("PATCH", "/fleets/default/servers/a", json={"address": "nowhere"})
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "address")


async def test_a_server_is_changed_and_removed(api: Api) -> None:
    body = {"address": "h:1", "name": "a", "memory_bytes": 8, "flags": {"num_load_threads": 2}}
    made = await api.ok("POST", "/fleets/default/servers", json=body)
    assert made["flags"] == {"num_load_threads": 2}
    path = "/fleets/default/servers/a"
    assert (await api.ok("PATCH", path, json={"memory_bytes": None}))["memory_bytes"] is None
    await api.ok("DELETE", path)
    assert (await api.ok("GET", "/fleets/default/servers"))["items"] == []
    kinds = [one["kind"] for one in (await api.ok("GET", "/events"))["items"]]
    assert kinds == ["server.added", "server.changed", "server.removed"]


async def test_servers_are_listed_in_pages(api: Api) -> None:
    for name in "cab":
        body = {"address": f"{name}:1", "name": name}
        await api.ok("POST", "/fleets/default/servers", json=body)
    first = await api.ok("GET", "/fleets/default/servers", params={"page_size": 2})
    assert [one["name"] for one in first["items"]] == ["a", "b"]
    token = {"page_token": first["next_page_token"]}
    rest = await api.ok("GET", "/fleets/default/servers", params=token)
    assert ([one["name"] for one in rest["items"]], rest["next_page_token"]) == (["c"], "")


async def test_what_happens_on_drift_is_a_setting_of_the_fleet(api: Api) -> None:
    assert (await api.ok("GET", "/fleets/default"))["on_drift"] == "enforce"
    made = await api.ok("POST", "/fleets", json={"name": "eu", "on_drift": "alert"})
    assert made["on_drift"] == "alert"
    changed = await api.ok("PATCH", "/fleets/eu", json={"on_drift": "adopt"})
    assert changed["on_drift"] == "adopt"
    problem = await api.refused("PATCH", "/fleets/eu", json={"on_drift": "ignore"})
    assert problem["errors"][0]["field"] == "on_drift"


async def test_ours_is_put_back_only_where_somebody_took_over(api: Api) -> None:
    await api.ok("POST", "/fleets/default/servers", json={"address": "h:1", "name": "a"})
    path = "/fleets/default/servers/a"
    problem = await api.refused("POST", f"{path}:enforce")
    assert (problem["status"], problem["code"]) == (409, "not-ours")
    assert problem["hint"] == "tfsctl server take-over a"
    await api.ok("PATCH", path, json={"take_over": True})
    enforced = await api.ok("POST", f"{path}:enforce", json={"reason": "it is ours"})
    assert enforced["taken_over"]
    event = (await api.ok("GET", "/events"))["items"][-1]
    assert (event["kind"], event["reason"]) == ("server.enforced", "it is ours")
    assert (await api.refused("POST", "/fleets/default/servers/b:enforce"))["status"] == 404
