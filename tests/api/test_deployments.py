"""Deployments, promotions, rollbacks, rollouts and revisions. The fleet has no server to wait for,
unless a test registers one that does not answer."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import MODELS, Api, half_plus_two

FLEET = "/fleets/default"
HALF = f"{FLEET}/deployments/half_plus_two"


async def deployed(api: Api, *versions: int, stable: int = 1) -> None:
    await half_plus_two(api, *versions)
    await api.ok("PUT", HALF, json={"versions": [stable], "labels": {"stable": stable}})


async def silent_server(api: Api) -> None:
    body = {"address": "127.0.0.1:1", "name": "silent", "take_over": True}
    await api.ok("POST", f"{FLEET}/servers", json=body)


async def test_a_deployment_reads_as_it_was_put(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    labels = {"stable": 1, "canary": 2}
    started = await api.ok("PUT", HALF, json={"versions": [2, 1], "labels": labels})
    assert started["changed"]
    shown = await api.ok("GET", HALF)
    assert shown["fleet"] == "default"
    assert shown["model"] == "half_plus_two"
    assert shown["revision"] == 1
    assert (shown["versions"], shown["labels"]) == ([1, 2], labels)
    assert shown["policy"] == {"specific": {}}
    assert shown["unlabelled_version"] == 2
    assert shown["status"]["labels"] == {
        "stable": {"version": 1, "servers": 0, "of": 0},
        "canary": {"version": 2, "servers": 0, "of": 0},
    }
    assert shown["updated_by"] == "local"
    assert (await api.ok("GET", f"{FLEET}/deployments"))["items"] == [shown]


async def test_the_same_deployment_again_changes_nothing(api: Api) -> None:
    await deployed(api, 1)
    put = {"versions": [1], "labels": {"stable": 1}}
    assert await api.ok("PUT", HALF, json=put) == {"changed": False}


async def test_labels_go_forward_and_back(api: Api) -> None:
    await deployed(api, 1, 2)
    promoted = await api.ok("POST", f"{HALF}:promote", json={"version": 2, "reason": "better"})
    assert promoted["rollout"]["reason"] == "better"
    assert (await api.ok("GET", HALF))["labels"] == {"stable": 2}
    await api.ok("POST", f"{HALF}:rollback")
    assert (await api.ok("GET", HALF))["labels"] == {"stable": 1}
    problem = await api.refused("POST", f"{HALF}:rollback")
    assert (problem["status"], problem["code"]) == (409, "nothing-to-roll-back-to")


async def test_a_label_that_is_elsewhere_fails_the_expectation(api: Api) -> None:
    await deployed(api, 1, 2)
    body = {"version": 2, "expect": 7}
    problem = await api.refused("POST", f"{HALF}:promote", json=body)
    assert (problem["status"], problem["code"]) == (409, "expectation-failed")
    assert (problem["expected"], problem["actual"]) == (7, 1)


async def test_an_unknown_version_is_not_promoted(api: Api) -> None:
    await deployed(api, 1)
    problem = await api.refused("POST", f"{HALF}:promote", json={"version": 9})
    assert (problem["status"], problem["code"]) == (422, "version-unknown")


async def test_a_label_on_a_version_outside_the_deployment_is_refused_by_name(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    body = {"versions": [1], "labels": {"stable": 2}}
    problem = await api.refused("PUT", HALF, json=body)
    assert (problem["status"], problem["code"]) == (422, "invalid")
    assert problem["errors"][0]["field"] == "labels.stable"


async def test_a_version_whose_callers_would_break_is_not_promoted_unless_allowed(
    api: Api, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "half_plus_two" / "1", tmp_path / "m" / "1")
    shutil.copytree(MODELS / "sentiment" / "1", tmp_path / "m" / "2")
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(tmp_path / "m")})
    await api.ok("POST", "/models/m/versions:scan")
    path = f"{FLEET}/deployments/m"
    await api.ok("PUT", path, json={"versions": [1], "labels": {"stable": 1}})
    problem = await api.refused("POST", f"{path}:promote", json={"version": 2})
    assert (problem["status"], problem["code"]) == (422, "signature-breaking")
    assert problem["changes"]
    body = {"version": 2, "allow_breaking": True}
    assert (await api.ok("POST", f"{path}:promote", json=body))["changed"]


async def test_a_live_rollout_refuses_another_unless_superseded(api: Api) -> None:
    await silent_server(api)
    await deployed(api, 1, 2)
    problem = await api.refused("POST", f"{HALF}:promote", json={"version": 2})
    assert (problem["status"], problem["code"]) == (409, "rollout-in-flight")
    answer = await api.http.post(f"{HALF}:promote", json={"version": 2, "supersede": True})
    assert answer.status_code == 202
    live = await api.ok("GET", answer.headers["location"].removeprefix("/api/v1"))
    assert live["live"]
    old = await api.ok("GET", f"/rollouts/{problem['rollout']}")
    assert (old["phase"], old["superseded_by"]) == ("aborted", live["id"])


async def test_a_dry_run_shows_the_plan_and_changes_nothing(api: Api) -> None:
    await silent_server(api)
    await half_plus_two(api, 1)
    put = {"versions": [1], "labels": {"stable": 1}}
    told = await api.ok("PUT", HALF, json=put, params={"dry_run": True})
    assert (told["changed"], told["would_change"]) == (False, True)
    assert told["plan"]["servers"] == ["silent"]
    assert told["plan"]["after"]["half_plus_two"]["labels"] == {"stable": 1}
    assert (await api.refused("GET", HALF))["status"] == 404


async def test_a_promotion_may_ask_for_exactly_what_was_planned(api: Api) -> None:
    await deployed(api, 1, 2, 3)
    path = f"{HALF}:promote"
    told = await api.ok("POST", path, json={"version": 2}, params={"dry_run": True})
    planned = {"version": 2, "plan_hash": told["plan"]["plan_hash"]}
    other = await api.refused("POST", path, json=planned | {"version": 3})
    assert (other["status"], other["code"]) == (412, "plan-changed")
    assert (await api.ok("POST", path, json=planned))["changed"]


async def test_a_write_that_was_agreed_on_is_answered_again_when_it_is_sent_again(api: Api) -> None:
    await silent_server(api)
    await half_plus_two(api, 1)
    put: dict[str, object] = {"versions": [1], "labels": {"stable": 1}}
    told = await api.ok("PUT", HALF, json=put, params={"dry_run": True})
    put["plan_hash"] = told["plan"]["plan_hash"]
    key = {"Idempotency-Key": "k1"}
    first = await api.ok("PUT", HALF, json=put, headers=key)
    assert await api.ok("PUT", HALF, json=put, headers=key) == first


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "deploy": ("PUT", HALF, {"versions": [1, 2, 3], "labels": {"stable": 3}}),
    "retire": ("POST", f"{HALF}:retire", {"versions": [3]}),
    "undeploy": ("DELETE", HALF, {}),
    "group": (
        "POST",
        f"{FLEET}/promotions",
        {"items": [{"model": "half_plus_two", "label": "stable", "version": 1}]},
    ),
    "rollback": ("POST", f"{HALF}:rollback", {}),
    "restore": ("POST", f"{FLEET}/revisions/1:restore", {}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_may_ask_for_exactly_what_was_planned(api: Api, change: str) -> None:
    method, path, body = CHANGES[change]
    await deployed(api, 1, 2, 3)
    await api.ok("POST", f"{HALF}:promote", json={"version": 2})
    await api.ok("PUT", HALF, json={"versions": [1, 2, 3], "labels": {"stable": 2}})

    def told(plan_hash: str) -> dict[str, Any]:
        if method == "DELETE":
            return {"params": {"plan_hash": plan_hash}}
        return {"json": body | {"plan_hash": plan_hash}}

    plan = (await api.ok(method, path, params={"dry_run": True}, json=body))["plan"]
    other = await api.refused(method, path, **told("0123456789abcdef"))
    assert (other["status"], other["code"]) == (412, "plan-changed")
    assert other["plan"] == plan
    assert (await api.ok("GET", f"{HALF}/revisions"))["items"][0]["revision"] == 3
    assert (await api.ok(method, path, **told(plan["plan_hash"])))["revision"] == 4


async def test_an_answer_is_held_until_the_rollout_is_over(api: Api) -> None:
    await silent_server(api)
    await half_plus_two(api, 1)
    put = {"versions": [1], "labels": {"stable": 1}}
    prefer = {"Prefer": "respond-async, wait=60"}
    waiting = asyncio.create_task(api.http.put(HALF, json=put, headers=prefer))
    async with asyncio.timeout(20):
        while not (live := (await api.ok("GET", "/rollouts"))["items"]):
            await asyncio.sleep(0.01)
    assert not waiting.done()
    await api.ok("POST", f"/rollouts/{live[0]['id']}:abort", json={"reason": "enough"})
    answer = await waiting
    assert (answer.status_code, answer.json()["rollout"]["phase"]) == (200, "aborted")
    assert answer.headers["preference-applied"] == "wait"


async def test_a_rollout_that_is_not_over_in_time_answers_as_it_stands(api: Api) -> None:
    await silent_server(api)
    await half_plus_two(api, 1)
    put = {"versions": [1], "labels": {"stable": 1}}
    answer = await api.http.put(HALF, json=put, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["rollout"]["live"]) == (202, True)


async def test_a_rollout_is_paused_resumed_and_aborted(api: Api) -> None:
    await silent_server(api)
    await deployed(api, 1)
    (rollout,) = (await api.ok("GET", "/rollouts", params={"fleet": "default"}))["items"]
    path = f"/rollouts/{rollout['id']}"
    assert (await api.ok("POST", f"{path}:pause"))["rollout"]["phase"] == "paused"
    assert (await api.refused("POST", f"{path}:pause"))["code"] == "phase-forbids"
    assert (await api.ok("POST", f"{path}:resume"))["rollout"]["live"]
    assert (await api.ok("POST", f"{path}:retry"))["rollout"]["live"]
    assert (await api.refused("POST", f"{path}:approve"))["code"] == "phase-forbids"
    assert (await api.refused("POST", f"{path}:reject"))["code"] == "phase-forbids"
    assert (await api.ok("POST", f"{path}:abort"))["rollout"]["phase"] == "aborted"
    assert (await api.refused("GET", HALF))["status"] == 404
    by_phase = await api.ok("GET", "/rollouts", params={"phase": "aborted"})
    assert [one["id"] for one in by_phase["items"]] == [rollout["id"]]


async def test_versions_are_retired_and_models_undeployed(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1, 2], "labels": {"stable": 1}})
    problem = await api.refused("POST", f"{HALF}:retire", json={"versions": [1]})
    assert problem["status"] == 409
    await api.ok("POST", f"{HALF}:retire", json={"versions": [2]})
    assert (await api.ok("GET", HALF))["versions"] == [1]
    await api.ok("DELETE", HALF, params={"reason": "not needed"})
    assert (await api.refused("GET", HALF))["status"] == 404
    assert (await api.refused("DELETE", HALF))["status"] == 404


async def test_a_group_is_one_revision_and_one_rollout(api: Api) -> None:
    await deployed(api, 1, 2)
    twin = {"name": "twin", "base_path": str(MODELS / "half_plus_two")}
    await api.ok("POST", "/models", json=twin)
    await api.ok("POST", "/models/twin/versions:scan")
    put = {"versions": [1], "labels": {"stable": 1}}
    await api.ok("PUT", f"{FLEET}/deployments/twin", json=put)
    items = [{"model": one, "version": 2} for one in ("half_plus_two", "twin")]
    made = await api.ok("POST", f"{FLEET}/promotions", json={"items": items})
    assert made["rollout"]["models"] == ["half_plus_two", "twin"]
    revision = await api.ok("GET", f"{FLEET}/revisions/{made['revision']}")
    assert {one: d["labels"]["stable"] for one, d in revision["changes"].items()} == {
        "half_plus_two": 2,
        "twin": 2,
    }


async def test_history_is_kept_and_a_whole_state_restored(api: Api) -> None:
    await deployed(api, 1, 2)
    await api.ok("POST", f"{HALF}:promote", json={"version": 2})
    listed = await api.ok("GET", f"{HALF}/revisions")
    assert [(one["revision"], one["kind"]) for one in listed["items"]] == [
        (2, "promote"),
        (1, "deploy"),
    ]
    assert (await api.ok("GET", f"{FLEET}/revisions"))["items"] == listed["items"]
    at = listed["items"][1]["created_at"]
    then = await api.ok("GET", f"{FLEET}/state", params={"at": at})
    assert then["deployments"]["half_plus_two"]["labels"] == {"stable": 1}
    await api.ok("POST", f"{FLEET}/revisions/1:restore", json={"reason": "as it was"})
    now = await api.ok("GET", f"{FLEET}/state")
    assert (now["revision"], now["deployments"]["half_plus_two"]["labels"]) == (3, {"stable": 1})


async def test_a_scan_deploys_what_a_policy_takes(api: Api, tmp_path: Path) -> None:
    shutil.copytree(MODELS / "half_plus_two" / "1", tmp_path / "m" / "1")
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(tmp_path / "m")})
    await api.ok("POST", "/models/m/versions:scan")
    path = f"{FLEET}/deployments/m"
    latest = {"latest": {"n": 1, "auto_load": True}}
    await api.ok("PUT", path, json={"versions": [1], "labels": {"stable": 1}, "policy": latest})
    shutil.copytree(MODELS / "half_plus_two" / "2", tmp_path / "m" / "2")
    await api.ok("POST", "/models/m/versions:scan")
    shown = await api.ok("GET", path)
    assert (shown["versions"], shown["labels"]) == ([1, 2], {"stable": 1})
    assert shown["updated_by"] == "policy"


async def test_the_config_is_shown_as_json_and_as_text(api: Api) -> None:
    await silent_server(api)
    await deployed(api, 1)
    shown = await api.ok("GET", f"{FLEET}/config")
    (entry,) = shown["model_config_list"]["config"]
    assert (entry["name"], entry["model_platform"]) == ("half_plus_two", "tensorflow")
    text = await api.http.get(f"{FLEET}/servers/silent/config", headers={"Accept": "text/plain"})
    assert text.headers["content-type"].startswith("text/plain")
    assert 'name: "half_plus_two"' in text.text
    assert (await api.refused("GET", f"{FLEET}/servers/nobody/config"))["status"] == 404
