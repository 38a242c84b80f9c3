"""What is shown of servers and deployments, from what the loop wrote down about them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.record import to_json
from control_plane.domain.state import Ability, Able, State
from control_plane.store import fleets, leases
from tests.api.conftest import Api, half_plus_two

FLEET = "/fleets/default"
HALF = f"{FLEET}/deployments/half_plus_two"
RESOLVE = f"{FLEET}/models/half_plus_two/labels/stable"
AT = 1_700_000_000.0


def available(*numbers: int) -> dict[int, VersionSeen]:
    return {number: VersionSeen(State.AVAILABLE, AT, served=True) for number in numbers}


def seen(versions: dict[int, VersionSeen], stable: int | None = 1, **more: Any) -> Observed:
    labels = {} if stable is None else {"half_plus_two": {"stable": stable}}
    return Observed(
        at=AT, reachable=True, models={"half_plus_two": versions}, labels=labels, **more
    )


async def observe(api: Api, server: str, observed: Observed, **said: str) -> None:
    """Write down what was seen of a server, as the loop does."""
    async with api.db.begin() as s:
        lease = await leases.acquire(s, "default", "test", 60)
        assert lease is not None
        document = to_json(observed) | said
        await fleets.save_observed(s, "default", server, document, epoch=lease.epoch)


async def fleet_of_two(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1, 2], "labels": {"stable": 1}})
    for name in ("a", "b"):
        body = {"address": f"{name}:1", "name": name, "take_over": True}
        await api.ok("POST", f"{FLEET}/servers", json=body)


async def until(api: Api, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until the answer holds."""
    async with asyncio.timeout(10):
        while True:
            answer = await api.http.get(path)
            if answer.is_success and holds(found := answer.json()):
                return dict(found)
            await asyncio.sleep(0.02)


async def test_a_deployment_that_is_true_everywhere_has_converged(api: Api) -> None:
    await fleet_of_two(api)
    for name in ("a", "b"):
        await observe(api, name, seen(available(1, 2)))
    shown = await api.ok("GET", HALF)
    assert shown["status"] == {
        "phase": "converged",
        "sentence": "serving 2 versions on 2 of 2 servers",
        "versions": {"1": {"AVAILABLE": 2}, "2": {"AVAILABLE": 2}},
        "labels": {"stable": {"version": 1, "servers": 2, "of": 2}},
        "answers": {"stable": {"1": 2}},
    }


async def test_while_no_replica_leads_a_fleet_the_age_of_what_is_known_is_said(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1, 2)))
    told = await api.ok("GET", f"{FLEET}/status")
    assert told["leader"] == {"replica": "test", "epoch": 1}
    assert told["servers"][0]["sentence"] == "serving all that it should"
    async with api.db.begin() as s:
        (lease,) = [one for one, _ in (await leases.left(s)).values()]
        await leases.release(s, lease)
    told = await api.ok("GET", f"{FLEET}/status")
    assert told["leader"] is None
    assert "as of 2023-11-14T22:13:20+00:00: no replica looks" in told["servers"][0]["sentence"]


async def test_a_server_that_lags_is_named_with_its_reason(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1, 2)))
    loading = available(1) | {2: VersionSeen(State.LOADING, AT)}
    await observe(api, "b", seen(loading), status="converging", sentence="waiting for version 2")
    status = (await api.ok("GET", HALF))["status"]
    assert status["phase"] == "converging"
    assert status["sentence"] == "serving 2 versions on 1 of 2 servers; b: waiting for version 2"
    assert status["versions"]["2"] == {"AVAILABLE": 1, "LOADING": 1}


async def test_a_deployment_with_a_silent_server_is_degraded(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1, 2)))
    status = (await api.ok("GET", HALF))["status"]
    assert status["phase"] == "degraded"
    assert status["labels"]["stable"] == {"version": 1, "servers": 1, "of": 2}


async def test_unlabelled_callers_get_the_highest_version_that_is_loaded(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1)))
    await observe(api, "b", seen(available(1)))
    assert (await api.ok("GET", HALF))["unlabelled_version"] == 1


@pytest.mark.parametrize(
    ("observed", "status"),
    [
        (seen(available(1, 2)), "ready"),
        (seen(available(1)), "converging"),
        (seen(available(1) | {2: VersionSeen(State.LOADING, AT)}), "busy"),
        (seen(available(1, 2), wedged="restart it"), "wedged"),
        (seen(available(1, 2), foreign=True), "drifted"),
        (Observed(at=AT, reachable=False), "unreachable"),
        (Observed(), "unreachable"),
    ],
)
async def test_a_server_says_how_it_is(api: Api, observed: Observed, status: str) -> None:
    await fleet_of_two(api)
    await observe(api, "a", observed)
    shown = await api.ok("GET", f"{FLEET}/servers/a")
    assert shown["status"] == status
    assert shown["sentence"]


async def test_the_status_shows_the_servers_own_states_and_error_texts(api: Api) -> None:
    await fleet_of_two(api)
    failed = {2: VersionSeen(State.END, AT, error_code=3, error="corrupt")}
    able = {1: VersionSeen(State.AVAILABLE, AT, able=Able(Ability.PROVEN))}
    await observe(api, "a", seen(able | failed))
    status = await api.ok("GET", f"{FLEET}/status")
    assert (status["fleet"], status["revision"]) == ("default", 1)
    versions = status["servers"][0]["models"]["half_plus_two"]["versions"]
    since = "2023-11-14T22:13:20+00:00"
    assert versions["2"] == {"state": "END", "since": since, "error_code": 3, "error": "corrupt"}
    assert versions["1"]["able"] == "proven"
    assert status["servers"][0]["last_seen_at"] == since
    assert status["deployments"][0]["model"] == "half_plus_two"


async def test_a_label_resolves_to_its_version_and_who_serves_it(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1, 2)))
    await api.ok("POST", "/models/half_plus_two/versions:scan")
    found = await until(api, RESOLVE, lambda one: one["servers_serving"] == 1)
    wanted = {"model": "half_plus_two", "label": "stable", "version": 1, "revision": 1}
    assert wanted.items() <= found.items()
    assert (found["servers_serving"], found["servers_total"]) == (1, 2)


async def test_a_label_resolves_to_the_old_version_until_servers_may_move(api: Api) -> None:
    await fleet_of_two(api)
    await api.ok("POST", "/models/half_plus_two/versions", json={"version": 3})
    await until(api, RESOLVE, lambda one: one["servers_total"] == 2)
    await api.ok("PUT", HALF, json={"versions": [1, 2, 3], "labels": {"stable": 3}})
    found = await until(api, RESOLVE, lambda one: True)
    assert (found["version"], found["revision"]) == (1, 1)
    (live,) = (await api.ok("GET", "/rollouts", params={"fleet": "default"}))["items"][:1]
    await api.ok("POST", f"/rollouts/{live['id']}:abort")
    assert (await until(api, RESOLVE, lambda one: one["revision"] > 1))["version"] == 1


async def test_labels_that_do_not_exist_are_not_found(api: Api) -> None:
    await fleet_of_two(api)
    await until(api, RESOLVE, lambda one: True)
    told = {
        "/fleets/nobody/models/half_plus_two/labels/stable": "there is no fleet nobody",
        f"{FLEET}/models/nobody/labels/stable": "the fleet default does not serve nobody",
        f"{FLEET}/models/half_plus_two/labels/x": "half_plus_two has no label x",
    }
    for path, text in told.items():
        problem = await api.refused("GET", path)
        assert problem["status"] == 404
        assert text in problem["detail"]


async def test_what_a_server_was_last_seen_with_cannot_be_deleted(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    body = {"address": "a:1", "name": "a"}
    await api.ok("POST", f"{FLEET}/servers", json=body)
    gone = {2: VersionSeen(State.END, AT)}
    await observe(api, "a", Observed(at=AT, models={"half_plus_two": available(1) | gone}))
    problem = await api.refused("DELETE", "/models/half_plus_two/versions/1")
    assert (problem["status"], problem["held"]) == (409, ["server a of fleet default"])
    assert (await api.refused("DELETE", "/models/half_plus_two"))["status"] == 409
    await api.ok("DELETE", "/models/half_plus_two/versions/2")
