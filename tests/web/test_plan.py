"""Plans on pages: what is shown is what is done, and nothing that was typed is lost."""

import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from control_plane.domain.rollout import Phase
from control_plane.services.access import Role
from tests.api.conftest import MODELS
from tests.web.conftest import Web, said
from tests.web.test_overview import serve, settle

PLACE = "/fleets/default/models/half_plus_two"
PROMOTE = f"{PLACE}/promote"
FORCED = {"label": "stable", "version": "2", "force": "yes"}


async def served(web: Web) -> None:
    """Version 1 is stable on a server that nobody has looked at."""
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)


def hash_of(page: str) -> str:
    found = re.search(r'name="plan_hash" value="(\w+)"', page)
    assert found, said(page)
    return found[1]


def button(page: str) -> str:
    found = re.search(r'<button[^>]*id="plan-confirm"[^>]*>(.*?)</button>', page, re.DOTALL)
    assert found, said(page)
    return said(found[1])


def value(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return unescape(found[1])


async def head(web: Web) -> dict[str, int]:
    found = await web.api.ok("GET", "/fleets/default/deployments/half_plus_two")
    labels: dict[str, int] = found["labels"]
    return labels


async def test_what_the_page_shows_is_what_its_button_does(web: Web) -> None:
    await served(web)
    page = (await web.get(f"{PROMOTE}?label=stable&version=2&force=yes")).text
    assert button(page) == "Move stable of half_plus_two from 1 to 2 on 1 server"
    told = said(page)
    assert "+ versions: 2" in told
    assert "identical half_plus_two stable 1 → 2" in told
    assert (await head(web))["stable"] == 1
    sent = {**FORCED, "plan_hash": hash_of(page), "reason": "<b>why</b> 𝕏"}
    answer = await web.send(PROMOTE, sent)
    assert answer.status_code == 303, said(answer.text)
    assert (await head(web))["stable"] == 2
    id_ = answer.headers["location"].removeprefix("/rollouts/")
    evidence = await web.api.ok("GET", f"/rollouts/{id_}:evidence")
    assert evidence["plan"]["plan_hash"] == sent["plan_hash"]
    assert evidence["plan"]["agreed"]
    assert evidence["rollout"]["reason"] == sent["reason"]
    assert web.api.nudges.fleets[-1] == "default"


async def test_another_plan_is_never_run_but_shown(web: Web) -> None:
    await served(web)
    page = (await web.get(f"{PROMOTE}?label=stable&version=2&force=yes")).text
    body = {"address": "127.0.0.1:7", "name": "b", "take_over": True}
    await web.api.ok("POST", "/fleets/default/servers", json=body)
    sent = {**FORCED, "plan_hash": hash_of(page), "reason": 'it is "time"'}
    for hash_ in (sent["plan_hash"], ""):
        answer = await web.send(PROMOTE, {**sent, "plan_hash": hash_})
        assert answer.status_code == 412
        assert "The plan is not the one that you saw" in said(answer.text)
        assert button(answer.text) == "Move stable of half_plus_two from 1 to 2 on 2 servers"
        assert value(answer.text, "reason") == 'it is "time"'
        page = answer.text
    assert (await head(web))["stable"] == 1
    answer = await web.send(PROMOTE, {**sent, "plan_hash": hash_of(page)})
    assert answer.status_code == 303
    assert (await head(web))["stable"] == 2


async def test_its_commands_do_the_same(web: Web) -> None:
    await served(web)
    page = (await web.get(f"{PROMOTE}?version=2&force=yes&reason=it%27s%20time")).text
    shown = [unescape(one) for one in re.findall(r'data-copy="([^"]*)"', page)]
    tfsctl, curl = (shlex.split(one) for one in shown)
    plan_hash = hash_of(page)
    assert tfsctl[:4] == ["tfsctl", "promote", "half_plus_two", "2"]
    assert {"--force", "--plan-hash", plan_hash, "it's time"} <= set(tfsctl)
    path = httpx.URL(next(one for one in curl if one.startswith("http"))).path
    body = json.loads(curl[curl.index("-d") + 1])
    answer = await web.api.ok("POST", path.removeprefix("/api/v1"), json=body)
    assert answer["rollout"]["reason"] == "it's time"
    assert (await head(web))["stable"] == 2


async def test_a_version_that_breaks_callers_says_how_and_what_would_let_it_pass(
    web: Web, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "half_plus_two" / "1", tmp_path / "other" / "1")
    shutil.copytree(MODELS / "sentiment" / "1", tmp_path / "other" / "2")
    body: dict[str, Any] = {"name": "other", "base_path": str(tmp_path / "other")}
    await web.api.ok("POST", "/models", json=body)
    await web.api.ok("POST", "/models/other/versions:scan")
    body = {"versions": [1], "labels": {"stable": 1}, "force": True}
    await web.api.ok("PUT", "/fleets/default/deployments/other", json=body)
    place = "/fleets/default/models/other/promote?version=2"
    page = (await web.get(place)).text
    assert "callers of stable would break" in said(page)
    assert "! serving_default" in said(page)
    assert 'name="allow_breaking"' in page
    assert "plan-confirm" not in page
    page = (await web.get(f"{place}&allow_breaking=yes&force=yes")).text
    assert "breaks callers other stable 1 → 2" in said(page)
    assert hash_of(page)


async def test_a_viewer_sees_the_plan_and_why_its_button_is_not_for_them(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await served(guarded)
    await guarded.log_in("grace", Role.VIEWER)
    page = (await guarded.get(f"{PROMOTE}?version=2&force=yes")).text
    assert re.search(r'id="plan-confirm" disabled aria-describedby="plan-may-not"', page)
    assert "You are viewer; this needs operator." in said(page)
    answer = await guarded.send(PROMOTE, {**FORCED, "plan_hash": hash_of(page), "reason": "let me"})
    assert answer.status_code == 403
    assert value(answer.text, "reason") == "let me"
    assert (await head(guarded))["stable"] == 1


async def test_a_rollback_goes_to_the_version_before_unless_another_is_named(web: Web) -> None:
    await served(web)
    place = f"{PLACE}/rollback"
    page = (await web.get(place)).text
    assert "There is no earlier version on which the label was verified." in said(page)
    assert "plan-confirm" not in page
    page = (await web.get(f"{place}?to_version=2")).text
    assert button(page) == "Move stable of half_plus_two from 1 to 2 on 1 server"
    sent = {"label": "stable", "to_version": "2", "plan_hash": hash_of(page)}
    answer = await web.send(
        place, sent, headers={"Sec-Fetch-Site": "same-origin", "HX-Request": "1"}
    )
    assert answer.status_code == 204
    assert answer.headers["hx-redirect"].startswith("/rollouts/")
    assert (await head(web))["stable"] == 2


async def test_a_live_rollout_is_named_and_may_be_ended(web: Web) -> None:
    await serve(web, "a")
    page = (await web.get(f"{PROMOTE}?version=2&force=yes")).text
    assert 'name="supersede"' in page
    assert re.search(r'href="/rollouts/\w+"', page)
    page = (await web.get(f"{PROMOTE}?version=2&force=yes&supersede=yes")).text
    assert "Ends a live rollout" in said(page)
    assert hash_of(page)


async def test_nonsense_is_told_where_it_is_and_stays_typed(web: Web) -> None:
    await served(web)
    for query, told, kept in (
        ("version=two", "version: 'two' is not a number of one", '"two" selected'),
        ("version=99", "half_plus_two has no version 99", '"99" selected'),
        ("version=2&force=yes&label=_cp_x", "reserved", 'value="_cp_x"'),
        ("version=2&strategy=%00none", "there is no strategy none", '"none" selected'),
        ("version=2&strategy=none", "there is no strategy none", '"none" selected'),
        ("version=2&label=%22%3E%3Cscript%3E", "label:", 'value="&#34;&gt;&lt;script&gt;"'),
    ):
        answer = await web.get(f"{PROMOTE}?{query}")
        assert answer.status_code == 200
        assert told in said(answer.text)
        assert "plan-confirm" not in answer.text
        assert "<script>" not in answer.text
        assert kept in answer.text
    assert (await web.get("/fleets/default/models/nobody/promote")).status_code == 404
    assert (await web.get("/fleets/nowhere/models/half_plus_two/rollback")).status_code == 404
    told = await web.text(f"{PROMOTE}?version=1")
    assert "There is nothing to change: it is so already." in told
