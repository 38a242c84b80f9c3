"""Models as they are served: the JSON behind the models list and a model's page."""

from typing import Any

import pytest

from control_plane.domain.observed import VersionSeen
from control_plane.domain.state import State
from tests.api.conftest import Api, half_plus_two
from tests.api.test_views import AT, FLEET, HALF, available, fleet_of_two, observe, seen

PAGE = f"{FLEET}/models/half_plus_two"
CORRUPT = VersionSeen(State.END, AT, error_code=5, error="no file called `saved_model.pb`")


async def shown(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = await api.ok("GET", PAGE)
    return found


async def test_a_model_says_where_its_labels_are_since_when_and_by_whom(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    body = {"versions": [1, 2], "labels": {"stable": 1, "canary": 1}, "reason": "first"}
    await api.ok("PUT", HALF, json=body)
    body = {"versions": [1, 2], "labels": {"stable": 1, "canary": 2}, "reason": "try 2"}
    await api.ok("PUT", HALF, json=body)
    labels = {one["label"]: one for one in (await shown(api))["labels"]}
    assert list(labels) == ["stable", "canary"]
    assert (labels["stable"]["version"], labels["canary"]["version"]) == (1, 2)
    moved = {label: one["moved"] for label, one in labels.items()}
    assert (moved["stable"]["revision"], moved["stable"]["reason"]) == (1, "first")
    assert (moved["canary"]["revision"], moved["canary"]["reason"]) == (2, "try 2")
    assert moved["canary"]["by"]
    assert labels["stable"]["rollback"] is None


async def test_changes_tell_what_they_changed(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1], "labels": {"stable": 1}})
    await api.ok("PUT", HALF, json={"versions": [1, 2], "labels": {"stable": 2}, "force": True})
    newest, first = (await shown(api))["changes"]
    assert newest["labels"] == {"stable": {"before": 1, "after": 2}}
    assert (newest["added"], newest["dropped"]) == ([2], [])
    assert (first["labels"], first["added"]) == ({"stable": {"before": None, "after": 1}}, [1])


async def test_the_matrix_has_each_servers_state_and_its_own_words(api: Api) -> None:
    await fleet_of_two(api)
    unloaded = {7: VersionSeen(State.END, AT)}
    await observe(api, "a", seen(available(1, 2) | unloaded))
    await observe(api, "b", seen(available(1) | {2: CORRUPT}))
    page = await shown(api)
    assert [row["version"] for row in page["matrix"]] == [2, 1]
    row = page["matrix"][0]
    assert row["states"]["a"]["state"] == "AVAILABLE"
    assert row["states"]["b"]["state"] == "END"
    assert row["states"]["b"]["failed"]
    assert row["states"]["b"]["error"] == CORRUPT.error
    assert [one["server"] for one in page["servers"] if one["known"]] == ["a", "b"]
    assert page["matrix"][1]["labels"] == ["stable"]


async def test_callers_without_a_label_get_the_highest_that_is_loaded(api: Api) -> None:
    await fleet_of_two(api)
    await observe(api, "a", seen(available(1, 2)))
    await observe(api, "b", seen(available(1)))
    assert (await shown(api))["unlabelled"] == {"version": 2, "stable": 1, "differs": True}


async def test_versions_are_judged_against_stable(api: Api) -> None:
    await fleet_of_two(api)
    versions = (await shown(api))["versions"]
    assert [one["version"] for one in versions] == [2, 1]
    assert versions[1]["labels"] == ["stable"]
    assert versions[1]["against_stable"] == {"against": 1, "verdict": "identical"}
    assert versions[0]["size_bytes"] > 0


async def test_the_config_is_what_a_server_takes(api: Api) -> None:
    await fleet_of_two(api)
    config = (await shown(api))["config"]
    assert 'name: "half_plus_two"' in config
    assert "version_labels" in config


async def test_a_model_that_a_fleet_does_not_serve_says_so(api: Api) -> None:
    await half_plus_two(api, 1)
    page = await shown(api)
    assert (page["deployment"], page["labels"], page["config"]) == (None, [], "")
    assert page["versions_known"] == 1
    await api.ok("POST", "/fleets", json={"name": "eu"})
    await api.ok("PUT", HALF, json={"versions": [1], "labels": {"stable": 1}})
    page = await api.ok("GET", "/fleets/eu/models/half_plus_two")
    assert page["elsewhere"] == [{"fleet": "default", "labels": {"stable": 1}}]


@pytest.mark.parametrize("path", [f"{FLEET}/models/ghost", "/fleets/ghost/models/half_plus_two"])
async def test_what_is_not_there_is_not_found(api: Api, path: str) -> None:
    await half_plus_two(api, 1)
    assert (await api.refused("GET", path))["code"] == "not-found"


async def test_the_list_counts_states_and_filters_by_them(api: Api) -> None:
    await fleet_of_two(api)
    body = {"name": "spare", "base_path": "/nowhere", "force": True, "description": "Half a model"}
    await api.ok("POST", "/models", json=body)
    every = await api.ok("GET", "/served")
    assert [one["name"] for one in every["items"]] == ["half_plus_two", "spare"]
    assert every["counters"]["unserved"] == 1
    assert every["items"][0]["newest_version"] == 2
    (row,) = every["items"][0]["deployments"]
    assert row["labels"]["stable"]["version"] == 1
    unserved = await api.ok("GET", "/served?state=unserved")
    assert [one["name"] for one in unserved["items"]] == ["spare"]
    assert (unserved["total"], unserved["matching"]) == (2, 1)
    assert [one["name"] for one in (await api.ok("GET", "/served?q=half+a"))["items"]] == ["spare"]
    assert (await api.refused("GET", "/served?state=pink"))["status"] == 422
