"""The page of a rollout: what it waits for, why it failed, and what may be told to it."""

import re
from dataclasses import replace
from typing import Any

from control_plane.domain.hook import Moment
from control_plane.domain.hook_runs import Run, RunState
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.services.access import Role
from control_plane.services.evidence import hash_of
from control_plane.store import hooks, rollouts
from control_plane.store.database import Page
from tests.api.conftest import MODELS
from tests.web.conftest import Web, said
from tests.web.test_overview import NASTY, serve, settle

WORDS = "Data loss: Can't parse /models/half_plus_two/2/saved_model.pb as binary proto"


async def newest(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = (await web.api.ok("GET", "/rollouts"))["items"][0]
    return found


async def page_of(web: Web) -> str:
    return (await web.get(f"/rollouts/{(await newest(web))['id']}")).text


async def as_if(web: Web, **changes: Any) -> None:
    """Have the newest rollout stand otherwise than it does."""
    async with web.api.db.begin() as s:
        found = (await rollouts.rollouts(s, Page(1))).items[0]
        await rollouts.save(s, found, replace(found, **changes))


async def stored(web: Web) -> Rollout:
    async with web.api.db.read() as s:
        return (await rollouts.rollouts(s, Page(1))).items[0]


def enabled(page: str) -> set[str]:
    return set(re.findall(r'<(?:button|a) id="verb-([a-z-]+)" class="[^"]*"(?! disabled)', page))


async def promoted(web: Web, *steps: Any) -> None:
    """Promote version 2, by steps of a strategy if there are any."""
    await settle(web, Phase.SUCCEEDED)
    body: dict[str, Any] = {"label": "stable", "version": 2, "force": True}
    if steps:
        await web.api.ok("PUT", "/strategies/slow", json={"steps": list(steps)})
        body["strategy"] = "slow"
    path = "/fleets/default/deployments/half_plus_two:promote"
    await web.api.ok("POST", path, json=body)


async def test_a_live_rollout_tells_its_steps_and_what_may_be_told_to_it(web: Web) -> None:
    await serve(web, "a", "b")
    await promoted(web)
    page = await page_of(web)
    told = said(page)
    assert "promote half_plus_two : progressing" in told
    assert "stable 1 → 2" in told
    assert "0 of 3" in told
    assert enabled(page) == {"pause", "abort", "retry", "rollback"}
    assert "It is not paused." in told
    assert "It waits for nobody's approval." in told
    assert "No bake, gate or approval is ahead." in told
    assert 'hx-trigger="live, every 3s"' in page


async def test_it_is_paused_and_resumed_with_a_reason(web: Web) -> None:
    await serve(web, "a")
    await promoted(web)
    place = f"/rollouts/{(await newest(web))['id']}"
    answer = await web.send(place, {"verb": "pause", "reason": "lunch"})
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    page = await page_of(web)
    assert enabled(page) == {"resume", "abort", "rollback"}
    assert "paused it: lunch" in said(page)
    assert "Nothing moves until somebody resumes or aborts it." in said(page)
    assert 'hx-trigger="live"' in page
    await web.send(place, {"verb": "resume"})
    assert (await newest(web))["phase"] == "progressing"


async def test_what_is_not_legal_any_more_is_said_where_it_was_asked(web: Web) -> None:
    await serve(web, "a")
    await promoted(web)
    place = f"/rollouts/{(await newest(web))['id']}"
    answer = await web.send(place, {"verb": "resume", "reason": 'my "reason"'})
    assert answer.status_code == 409
    assert "is progressing" in said(answer.text)
    assert 'name="reason" value="my &#34;reason&#34;"' in answer.text
    assert (await web.send(place, {"verb": "dance"})).status_code == 404
    assert (await web.send("/rollouts/none", {"verb": "pause"})).status_code == 404
    assert (await web.get("/rollouts/none")).status_code == 404


async def test_an_approval_is_asked_of_somebody_else(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await serve(guarded, "a")
    await promoted(guarded, {"approve": {"count": 1}}, "load", "promote")
    page = await page_of(guarded)
    assert "You asked for it, so somebody else approves it." in said(page)
    assert "Next: approve or reject it." in said(page)
    assert enabled(page) == {"pause", "abort", "retry", "reject", "rollback"}
    await guarded.log_in("bob", Role.OPERATOR)
    assert "approve" in enabled(await page_of(guarded))
    place = f"/rollouts/{(await newest(guarded))['id']}"
    answer = await guarded.send(place, {"verb": "approve", "reason": "fine by me"})
    assert answer.status_code == 303
    told = said(await page_of(guarded))
    assert "You have approved it." in told
    assert "(fine by me)" in told.replace("( ", "(").replace(" )", ")")
    await guarded.log_in("grace", Role.VIEWER)
    page = await page_of(guarded)
    assert enabled(page) == {"rollback"}  # its plan may be looked at
    assert said(page).count("You are viewer; this needs operator.") == 1
    assert (await guarded.send(place, {"verb": "abort"})).status_code == 403


async def test_a_failure_is_told_in_the_servers_words_with_what_to_do(web: Web) -> None:
    await serve(web, "a")
    await promoted(web)
    now = web.api.parts.clock()
    await as_if(
        web, phase=Phase.FAILED, sentence="a: version 2 failed to load", error=WORDS, ended_at=now
    )
    page = await page_of(web)
    told = said(page)
    assert "promote half_plus_two : failed" in told
    assert WORDS in told
    assert "No label had moved: callers get what they got before." in told
    assert "tfsctl version scan half_plus_two" in told
    assert "It is over." in told


async def test_gates_and_hooks_show_what_they_saw(web: Web) -> None:
    await serve(web, "a")
    gate = {"kind": "replay", "tolerance": {"max_abs": 0.5, "latency_ratio": 2}}
    probe = {"kind": "probe", "p99_ms": 50, "min_requests": 10}
    await promoted(web, "load", {"gate": gate}, {"gate": probe}, "promote")
    outputs = {"y": {"max_abs": 0.75, "max_rel": 0.1, "agreement": 1.0}}
    times = {"current": {"p50": 1, "p95": 2, "p99": 3}, "new": {"p50": 1, "p95": 9, "p99": 9}}
    replayed = {"models": {"half_plus_two": {"outputs": outputs, "latency_ms": times}}}
    probed: dict[str, Any] = {"requests": 18_204, "failures": 0, "worst_ms": 41.0, "p99_ms": 12.0}
    probed |= {"servers": {"a": 18_204}}
    verdicts = iter((("fail", "y is too far", replayed), ("pass", "all answered", probed)))

    def ruled(steps: Any) -> Any:
        for step in steps:
            if step.name is StepName.GATE:
                told = dict(zip(("ruling", "sentence", "evidence"), next(verdicts), strict=True))
                yield replace(step, evidence={"verdict": told})
            else:
                yield step

    await as_if(web, steps=tuple(ruled((await stored(web)).steps)))
    page = await page_of(web)
    told = said(page)
    assert "Largest absolute difference · half_plus_two at most 0.5 y 0.75 beyond" in told
    assert "new p95 9 beyond" in told
    assert "0 failed of 18,204 predictions" in told
    assert page.count('class="bar-limit"') == 4
    assert page.count('class="bar-bad"') == 2
    assert "at most 50 p99 12 worst 41" in told
    assert "max_abs 0.5" in told


async def test_runs_of_hooks_are_shown_with_what_they_put_out(web: Web) -> None:
    await serve(web, "a")
    fleet, now = "default", web.api.parts.clock()
    run = Run("r1", "warm", fleet, Moment.AFTER_LOAD, (await newest(web))["id"], "half_plus_two",
              1, "a", 0, {}, now, RunState.FAILED, 3, 500, 1.25, "answered 500", NASTY[:900], now,
              now)  # fmt: skip
    waiting = replace(run, id="r2", hook="tell", moment=Moment.BEFORE_PROMOTE, server="")
    waiting = replace(waiting, state=RunState.PENDING, attempts=0, started_at=None, output="")
    async with web.api.db.begin() as s:
        await hooks.add_runs(s, (run, waiting))
    page = await page_of(web)
    told = said(page)
    assert "warm failed after the load · half_plus_two 1 · a · 3 tries" in told
    assert "answered 500" in told
    assert "tell waits before labels move" in told
    assert "<script>alert(1)</script>" in told
    assert "<script>alert" not in page


async def test_a_group_is_told_with_each_of_its_models(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)
    body: dict[str, Any] = {"name": "other", "base_path": str(MODELS / "half_plus_two")}
    await web.api.ok("POST", "/models", json=body)
    await web.api.ok("POST", "/models/other/versions:scan")
    body = {"versions": [1], "labels": {"stable": 1}, "force": True}
    await web.api.ok("PUT", "/fleets/default/deployments/other", json=body)
    await settle(web, Phase.SUCCEEDED)
    items = [{"model": one, "label": "stable", "version": 2} for one in ("half_plus_two", "other")]
    body = {"items": items, "force": True}
    await web.api.ok("POST", "/fleets/default/promotions", json=body)
    page = await page_of(web)
    told = said(page)
    assert "promote half_plus_two , other : progressing" in told
    assert "half_plus_two stable 1 → 2 other stable 1 → 2" in told
    assert "/fleets/default/models/half_plus_two/rollback?label=stable" in page
    back = await web.text("/fleets/default/models/half_plus_two/rollback?to_version=1")
    assert "Ends a live rollout" in back


async def test_the_evidence_is_handed_out_as_a_file(web: Web) -> None:
    await serve(web, "a")
    id_ = (await newest(web))["id"]
    answer = await web.get(f"/ui/rollouts/{id_}/evidence.json")
    assert answer.headers["content-disposition"] == f'attachment; filename="rollout-{id_}.json"'
    assert answer.json()["sha256"] == hash_of(answer.json())
    answer = await web.get(f"/ui/rollouts/{id_}/evidence.html")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.text.startswith("<!DOCTYPE html>")
    assert (await web.get(f"/ui/rollouts/{id_}/evidence.exe")).status_code == 404


async def test_what_people_wrote_is_shown_as_text(web: Web) -> None:
    await serve(web, "a")
    await as_if(web, sentence=NASTY, error=NASTY)
    for path in ("/rollouts", f"/rollouts/{(await newest(web))['id']}"):
        page = (await web.get(path)).text
        assert "<script>alert" not in page
        assert "<script>alert(1)</script>" in said(page)


async def test_the_list_is_filtered_by_its_address(web: Web) -> None:
    assert "Nothing was rolled out yet." in await web.text("/rollouts")
    await serve(web, "a")
    await promoted(web)
    page = (await web.get("/rollouts?model=half_plus_two&phase=progressing")).text
    assert page.count('<tr id="rollout-') == 1
    assert 'name="model" value="half_plus_two"' in page
    assert 'href="/rollouts?model=half_plus_two&amp;phase=succeeded"' in page
    assert (await web.get("/rollouts?phase=nonsense")).text.count('<tr id="rollout-') == 2
    for query in ("model=nobody", "fleet=nowhere", "phase=paused"):
        assert "No rollout is like that." in await web.text(f"/rollouts?{query}")
    part = await web.get("/ui/rollouts?phase=progressing")
    assert 'hx-get="/ui/rollouts?phase=progressing"' in part.text
    assert "<html" not in part.text


async def test_both_are_told_in_chinese(web: Web) -> None:
    await serve(web, "a")
    id_ = (await newest(web))["id"]
    for path, told in (
        ("/rollouts", "最新在前"),
        (f"/rollouts/{id_}", "未处于暂停状态。"),
        ("/fleets/default/models/half_plus_two/promote?version=2", "继续所需的明确许可"),
    ):
        assert told in await web.text(path, **{"Accept-Language": "zh"})
