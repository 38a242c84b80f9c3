"""The overview: in words what the API says in JSON, and nothing that is not so."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from control_plane.domain.rollout import Phase
from control_plane.services.access import Role
from control_plane.store import leases, plans, rollouts
from control_plane.store.database import Page
from tests.api.conftest import half_plus_two
from tests.web.conftest import Web, said

NASTY = "<script>alert(1)</script>\u202e𝕏 " + "long" * 2_500


async def serve(web: Web, *servers: str, led: bool = True) -> None:
    """Deploy version 1 of half_plus_two to servers that nobody has looked at yet."""
    api = web.api
    await half_plus_two(api, 1, 2)
    for number, name in enumerate(servers, 1):
        body = {"address": f"127.0.0.1:{number}", "name": name, "take_over": True}
        await api.ok("POST", "/fleets/default/servers", json=body)
    body = {"versions": [1], "labels": {"stable": 1}, "force": True, "reason": NASTY[:900]}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    if led:
        async with api.db.begin() as s:
            await leases.acquire(s, "default", "tests", 3_600)


async def settle(web: Web, phase: Phase) -> None:
    """Have the live rollout end, or stand, in a phase."""
    async with web.api.db.begin() as s:
        found = (await rollouts.rollouts(s, Page(1))).items[0]
        now = web.api.parts.clock()
        over = replace(found, phase=phase, sentence="as told", ended_at=None if phase.live else now)
        await rollouts.save(s, found, over)


async def overview(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = await web.api.ok("GET", "/overview")
    return found


async def test_an_empty_control_plane_shows_the_first_commands(web: Web) -> None:
    told = await web.text("/")
    assert "Nothing is served yet." in told
    assert "tfsctl deploy half_plus_two --versions 1 --label stable=1" in told
    assert (await overview(web))["verdict"]["state"] == "empty"


async def test_a_live_rollout_is_rolling_and_shows_its_progress(web: Web) -> None:
    await serve(web, "a", "b")
    found = await overview(web)
    assert found["verdict"] == {
        "state": "rolling",
        "models": 1,
        "fleets": 1,
        "servers": 2,
        "servers_answering": 0,
    }
    assert found["counters"]["rolling"] == 1
    progress = found["rollouts"][0]["progress"]
    assert progress["steps_done"] == 0
    assert progress["steps"] == len(found["rollouts"][0]["steps"])
    told = await web.text("/")
    assert "1 model is moving; nothing is wrong." in told
    assert f"step 1 of {progress['steps']}" in told


async def test_a_live_rollout_says_when_it_is_over_by_its_plan_unless_that_rests_with_people(
    web: Web,
) -> None:
    await serve(web, "a")
    id_ = (await overview(web))["rollouts"][0]["id"]
    assert (await overview(web))["rollouts"][0]["progress"]["eta_at"] is None
    now = web.api.parts.clock()
    async with web.api.db.begin() as s:
        await plans.keep(s, plans.KeptPlan(id_, now, {"eta_s": 3_600.5}))
    rollout = (await overview(web))["rollouts"][0]
    begun = datetime.fromisoformat(rollout["created_at"])
    assert rollout["progress"]["eta_at"] == (begun + timedelta(seconds=3_600.5)).isoformat()
    assert "by its plan over at about" in await web.text("/")
    await web.send(f"/ui/rollouts/{id_}:pause", {})
    assert (await overview(web))["rollouts"][0]["progress"]["eta_at"] is None
    assert "by its plan over at about" not in await web.text("/")


async def test_a_paused_rollout_waits_for_somebody_who_resumes_it_here(web: Web) -> None:
    await serve(web, "a")
    id_ = (await overview(web))["rollouts"][0]["id"]
    answer = await web.send(f"/ui/rollouts/{id_}:pause", {"next": "/?state=waiting"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?state=waiting")
    found = await overview(web)
    assert found["verdict"]["state"] == "waiting"
    assert "rollout_paused" in [one["kind"] for one in found["attention"]]
    assert f"tfsctl rollout resume {id_}" in await web.text("/?state=waiting")
    await web.send(f"/ui/rollouts/{id_}:resume", {})
    assert (await overview(web))["verdict"]["state"] == "rolling"
    assert "default" in web.api.nudges.fleets


async def test_a_viewer_sees_a_disabled_button_with_the_reason_and_is_refused(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await serve(guarded, "a")
    id_ = (await overview(guarded))["rollouts"][0]["id"]
    await guarded.send(f"/ui/rollouts/{id_}:pause", {})
    event = (await guarded.api.ok("GET", "/events?kind=rollout.paused"))["items"][0]
    assert event["actor"] == "ada"
    await guarded.log_in("grace", Role.VIEWER)
    page = (await guarded.get("/")).text
    assert "You are viewer; this needs operator." in page
    assert '<button class="button " disabled>' in page
    answer = await guarded.send(f"/ui/rollouts/{id_}:resume", {})
    assert answer.status_code == 403
    assert (await overview(guarded))["verdict"]["state"] == "waiting"


async def test_what_nobody_looks_at_is_never_called_healthy(web: Web) -> None:
    await serve(web, "a", led=False)
    await settle(web, Phase.SUCCEEDED)
    found = await overview(web)
    assert found["verdict"]["state"] == "unknown"
    assert found["attention"][0]["kind"] == "unwatched"
    assert found["fleets"][0]["servers"] == [{"server": "a", "status": "unknown"}]
    assert "Nobody looks at the servers of 1 model now" in await web.text("/")


async def test_a_silent_server_degrades_its_model_and_the_reason_is_told_once(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)
    found = await overview(web)
    assert found["verdict"]["state"] == "degraded"
    kinds = [(one["kind"], one["server"]) for one in found["attention"]]
    assert kinds == [("server_unreachable", "a")]
    told = await web.text("/?state=degraded")
    assert "1 model is not served everywhere it should be." in told
    assert "tfsctl doctor a --fleet default" in told
    assert "No model is healthy now." in await web.text("/?state=healthy")


async def test_a_failed_rollout_is_told_until_the_model_is_changed_again(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.FAILED)
    assert "rollout_failed" in [one["kind"] for one in (await overview(web))["attention"]]
    body = {"versions": [1, 2], "labels": {"stable": 1}, "force": True}
    await web.api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    assert "rollout_failed" not in [one["kind"] for one in (await overview(web))["attention"]]


async def test_what_people_wrote_is_shown_as_text(web: Web) -> None:
    await serve(web, "a")
    page = (await web.get("/")).text
    assert "<script>alert" not in page
    assert "<script>alert(1)</script>" in said(page)


async def test_a_state_that_does_not_exist_filters_nothing(web: Web) -> None:
    await serve(web, "a")
    assert "half_plus_two" in await web.text('/?state="><script>')
