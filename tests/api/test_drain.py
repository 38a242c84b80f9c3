"""Draining a server: callers are kept away, nothing on it changes."""

from tests.api.conftest import Api

SERVER = "/fleets/default/servers/a"


async def registered(api: Api) -> None:
    body = {"address": "h:1", "name": "a", "take_over": True}
    await api.ok("POST", "/fleets/default/servers", json=body)


async def test_a_server_is_drained_on_somebodys_word_and_undrained(api: Api) -> None:
    await registered(api)
    drained = await api.ok("POST", f"{SERVER}:drain", json={"reason": "new kernel"})
    assert (drained["drained"], drained["changed"]) == (True, True)
    assert (await api.ok("POST", f"{SERVER}:drain"))["changed"] is False
    (shown,) = (await api.ok("GET", "/fleets/default/status"))["servers"]
    assert (shown["drained"], shown["drain"]["reason"]) == (True, "new kernel")
    assert (await api.ok("POST", f"{SERVER}:undrain"))["drained"] is False
    assert (await api.ok("GET", SERVER))["drain"] is None
    events = (await api.ok("GET", "/events"))["items"]
    told = [(one["kind"], one.get("server"), one.get("reason")) for one in events[-2:]]
    assert told == [("server.drained", "a", "new kernel"), ("server.undrained", "a", None)]


async def test_a_dry_run_drains_nothing(api: Api) -> None:
    await registered(api)
    told = await api.ok("POST", f"{SERVER}:drain", params={"dry_run": "true"})
    assert told["would"]["drained"] is True
    assert (await api.ok("GET", SERVER))["drained"] is False


async def test_what_is_not_there_is_not_drained(api: Api) -> None:
    assert (await api.refused("POST", f"{SERVER}:drain"))["status"] == 404
