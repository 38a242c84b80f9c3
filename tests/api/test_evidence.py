"""Evidence and label history over HTTP; what needs servers is a scenario's."""

import hashlib
import json
import shutil
from pathlib import Path

from control_plane.services.digests import hash_pending
from tests.api.conftest import MODELS, Api, now
from tests.api.test_deployments import HALF, deployed

HISTORY = "/fleets/default/models/half_plus_two/labels/stable/history"


async def promoted(api: Api, reason: str) -> str:
    await deployed(api, 1, 2)
    answer = await api.ok("POST", f"{HALF}:promote", json={"version": 2, "reason": reason})
    return str(answer["rollout"]["id"])


async def test_evidence_says_who_why_and_what_and_its_hash_can_be_checked(api: Api) -> None:
    rollout = await promoted(api, "better")
    told = await api.ok("GET", f"/rollouts/{rollout}:evidence")
    assert (told["rollout"]["actor"], told["rollout"]["reason"]) == ("local", "better")
    assert told["deployments"]["before"]["half_plus_two"]["labels"] == {"stable": 1}
    assert told["deployments"]["after"]["half_plus_two"]["labels"] == {"stable": 2}
    assert told["revisions"]["after"]["kind"] == "promote"
    assert told["events"][0]["kind"] == "revision.created"
    assert told["events"][-1]["kind"] == "rollout.ended"
    rest = {name: value for name, value in told.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told["sha256"] == hashlib.sha256(text.encode()).hexdigest()


async def test_evidence_as_a_page_needs_nothing_else_and_escapes_what_people_wrote(
    api: Api,
) -> None:
    rollout = await promoted(api, "<script>alert(1)</script>")
    path = f"/rollouts/{rollout}:evidence"
    answer = await api.http.get(path, headers={"Accept": "text/html"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "src=" not in answer.text
    assert "<link" not in answer.text


async def test_the_plan_that_was_agreed_to_is_in_the_evidence(api: Api) -> None:
    rollout = await promoted(api, "unplanned")
    assert (await api.ok("GET", f"/rollouts/{rollout}:evidence"))["plan"] is None
    body = {"version": 1, "reason": "planned"}
    dry = await api.ok("POST", f"{HALF}:promote", params={"dry_run": "true"}, json=body)
    agreed = body | {"plan_hash": dry["plan"]["plan_hash"]}
    started = await api.ok("POST", f"{HALF}:promote", json=agreed)
    told = await api.ok("GET", f"/rollouts/{started['rollout']['id']}:evidence")
    created_at = started["rollout"]["created_at"]
    made = {"agreed": True, "made_at": created_at, "reloads_before": 0}
    assert told["plan"] == dry["plan"] | made
    page = await api.http.get(
        f"/rollouts/{started['rollout']['id']}:evidence", headers={"Accept": "text/html"}
    )
    assert dry["plan"]["plan_hash"] in page.text


async def test_there_is_no_evidence_of_an_unknown_rollout(api: Api) -> None:
    assert (await api.refused("GET", "/rollouts/nope:evidence"))["code"] == "not-found"


async def test_a_label_that_no_server_answered_has_no_history(api: Api) -> None:
    await deployed(api, 1)
    assert (await api.ok("GET", HISTORY))["items"] == []
    assert (await api.ok("GET", HISTORY, params={"at": "2026-01-01T14:05:00Z"}))["items"] == []
    problem = await api.refused("GET", HISTORY, params={"at": "yesterday"})
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "at")
    other = HISTORY.replace("half_plus_two", "nope")
    assert (await api.refused("GET", other))["status"] == 404


async def test_a_restore_refuses_files_that_changed_and_shows_its_plan(
    api: Api, tmp_path: Path
) -> None:
    for version in ("1", "2"):
        shutil.copytree(MODELS / "half_plus_two" / version, tmp_path / "m" / version)
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(tmp_path / "m")})
    await api.ok("POST", "/models/m/versions:scan")
    await hash_pending(api.db, now)
    path = "/fleets/default/deployments/m"
    await api.ok("PUT", path, json={"versions": [1], "labels": {"stable": 1}})
    await api.ok("PUT", path, json={"versions": [2], "labels": {"stable": 2}})
    restore = "/fleets/default/revisions/1:restore"
    plan = (await api.ok("POST", restore, params={"dry_run": "true"}))["plan"]
    assert (plan["kind"], plan["after"]["m"]["labels"]) == ("restore", {"stable": 1})
    assert (await api.ok("GET", path))["labels"] == {"stable": 2}
    with (tmp_path / "m" / "1" / "saved_model.pb").open("ab") as file:
        file.write(b"\x00")
    problem = await api.refused("POST", restore)
    assert (problem["status"], problem["code"]) == (422, "artifact-changed")
    (changed,) = problem["changed"]
    assert (changed["model"], changed["version"]) == ("m", 1)
    assert changed["registered"] != changed["now"]
    shutil.rmtree(tmp_path / "m" / "1")
    assert (await api.refused("POST", restore))["code"] == "artifact-missing"
    assert (await api.ok("POST", restore, json={"force": True}))["changed"]
    assert (await api.ok("GET", path))["labels"] == {"stable": 1}
