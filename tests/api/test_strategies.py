"""Strategies over HTTP."""

from pathlib import Path
from typing import Any

from control_plane.services.access import Role
from tests.api.conftest import Api, half_plus_two, serving, token
from tests.databases import sqlite_url

HALF = "/fleets/default/deployments/half_plus_two"
SLOW: dict[str, Any] = {"steps": ["load", {"bake": {"seconds": 60}}, "promote"]}


async def deployed(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", HALF, json={"versions": [1], "labels": {"stable": 1}})


async def test_a_strategy_is_put_shown_edited_and_deleted(api: Api) -> None:
    made = await api.http.put("/strategies/slow", json=SLOW)
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    assert made.json()["steps"][1] == {"bake": {"seconds": 60.0}}
    edited = {"description": "two waves", "steps": ["load", {"promote": {"waves": [1, "all"]}}]}
    stale = {"If-Match": '"7"'}
    problem = await api.refused("PUT", "/strategies/slow", json=edited, headers=stale)
    assert problem["status"] == 412
    await api.ok("PUT", "/strategies/slow", json=edited, headers={"If-Match": '"1"'})
    assert (await api.ok("GET", "/strategies/slow"))["number"] == 2
    edits = (await api.ok("GET", "/strategies/slow/versions"))["items"]
    assert [one["number"] for one in edits] == [2, 1]
    assert await api.ok("GET", "/strategies/slow/versions/1") == made.json()
    await api.ok("DELETE", "/strategies/slow")
    assert (await api.refused("GET", "/strategies/slow"))["status"] == 404
    names = [one["name"] for one in (await api.ok("GET", "/strategies"))["items"]]
    assert names == ["canary", "direct"]


async def test_what_cannot_be_carried_out_names_its_path(api: Api) -> None:
    body = {"steps": ["load", "promote", {"canary": {"servers": 0}}]}
    problem = await api.refused("PUT", "/strategies/slow", json=body)
    assert (problem["status"], problem["code"]) == (422, "invalid")
    assert problem["errors"][0]["field"] == "steps[2].servers"
    problem = await api.refused("PUT", "/strategies/slow", json=SLOW | {"gates": []})
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "gates")


async def test_a_rehearsed_edit_changes_nothing(api: Api) -> None:
    told = await api.ok("PUT", "/strategies/slow?dry_run=true", json=SLOW)
    assert told["would"]["number"] == 1
    assert (await api.refused("GET", "/strategies/slow"))["status"] == 404


async def test_a_promotion_names_its_strategy_and_shows_its_steps(api: Api) -> None:
    await deployed(api)
    await api.ok("PUT", "/strategies/slow", json=SLOW)
    asked = {"version": 2, "strategy": "slow", "force": True}
    started = await api.ok("POST", f"{HALF}:promote", json=asked)
    rollout = await api.ok("GET", f"/rollouts/{started['rollout']['id']}")
    assert rollout["strategy"] == {"name": "slow", "number": 1}
    steps = {one["name"]: one["spec"] for one in rollout["steps"]}
    assert steps == {
        "load": {},
        "bake": {"seconds": 60.0},
        "promote": {"servers": "all"},
        "retire": {},
    }


async def test_an_unknown_strategy_is_an_invalid_field(api: Api) -> None:
    await deployed(api)
    asked = {"version": 2, "strategy": "nothing", "force": True}
    problem = await api.refused("POST", f"{HALF}:promote", json=asked)
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "strategy")


async def test_a_model_has_a_default_that_promotions_follow(api: Api) -> None:
    await deployed(api)
    path = "/models/half_plus_two"
    problem = await api.refused("PATCH", path, json={"default_strategy": "nothing"})
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "default_strategy")
    changed = await api.ok("PATCH", path, json={"default_strategy": "canary"})
    assert changed["default_strategy"] == "canary"
    asked = {"version": 2, "force": True}
    started = await api.ok("POST", f"{HALF}:promote", json=asked)
    assert started["rollout"]["strategy"]["name"] == "canary"


async def test_somebody_else_approves_and_the_author_may_not(tmp_path: Path) -> None:
    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        people = {
            name: {"Authorization": f"Bearer {await token(api.db, name, Role.OPERATOR)}"}
            for name in ("ada", "bob")
        }
        api.http.headers.update(people["ada"])
        await deployed(api)
        steps = {"steps": [{"approve": {}}, "load", "promote"]}
        await api.ok("PUT", "/strategies/people", json=steps)
        asked = {"version": 2, "strategy": "people", "force": True}
        rollout = (await api.ok("POST", f"{HALF}:promote", json=asked))["rollout"]
        verb = f"/rollouts/{rollout['id']}:approve"
        assert (await api.refused("POST", verb))["status"] == 403
        told = await api.ok("POST", verb, headers=people["bob"], json={"reason": "fine"})
        approvals = told["rollout"]["steps"][0]["evidence"]["approvals"]
        assert [(one["actor"], one["reason"]) for one in approvals] == [("bob", "fine")]


async def test_a_rollout_is_hurried_once(api: Api) -> None:
    await deployed(api)
    await api.ok("PUT", "/strategies/slow", json=SLOW)
    asked = {"version": 2, "strategy": "slow", "force": True}
    rollout = (await api.ok("POST", f"{HALF}:promote", json=asked))["rollout"]
    verb = f"/rollouts/{rollout['id']}:promote-now"
    assert (await api.ok("POST", verb, json={"reason": "outage"}))["changed"]
    assert (await api.refused("POST", verb))["status"] == 409


FROZEN = {"from": "2020-01-01T00:00:00Z", "to": "2120-01-01T00:00:00Z", "reason": "sale"}


async def test_a_freeze_is_423_until_somebody_breaks_the_glass(api: Api) -> None:
    await deployed(api)
    gate = {"gate": {"kind": "freeze", "windows": [FROZEN]}}
    await api.ok("PUT", "/strategies/careful", json={"steps": ["load", gate, "promote"]})
    await api.ok("PATCH", "/models/half_plus_two", json={"default_strategy": "careful"})
    asked = {"version": 2, "force": True}
    put = {"versions": [1, 2], "labels": {"stable": 2}, "force": True}
    group = {"items": [{"model": "half_plus_two", "version": 2}], "force": True}
    calls = [
        ("POST", f"{HALF}:promote", asked),
        ("PUT", HALF, put),
        ("POST", "/fleets/default/promotions", group),
    ]
    for method, path, body in calls:
        problem = await api.refused(method, path, json=body)
        assert (problem["status"], problem["code"]) == (423, "frozen")
        assert problem["detail"] == "frozen until 2120-01-01T00:00:00+00:00 (sale)"
        assert "break_glass" in problem["hint"]
    told = await api.ok("POST", f"{HALF}:promote", json=asked | {"break_glass": "prod is down"})
    assert told["rollout"]["steps"][1]["spec"]["break_glass"] == "prod is down"
    (event,) = (await api.ok("GET", "/events?kind=rollout.glass_broken"))["items"]
    assert (event["reason"], event["data"]) == ("prod is down", {"gates": ["gate freeze"]})


async def test_a_gate_that_a_caller_may_not_pass_is_403_with_what_is_in_the_way(api: Api) -> None:
    await deployed(api)
    await api.ok("PUT", "/strategies/people", json={"steps": [{"approve": {}}, "load", "promote"]})
    asked = {"version": 2, "strategy": "people", "force": True}
    rollout = (await api.ok("POST", f"{HALF}:promote", json=asked))["rollout"]
    verb = f"/rollouts/{rollout['id']}:promote-now"
    problem = await api.refused("POST", verb, json={"reason": "outage"})
    assert (problem["status"], problem["code"]) == (403, "gate-blocked")
    assert [one["step"] for one in problem["blockers"]] == ["approve"]
    assert (await api.ok("POST", verb, json={"break_glass": "outage"}))["changed"]
