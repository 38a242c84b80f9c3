"""The history: what happened, who answered when, states of the past, going back to one."""

from typing import Any
from urllib.parse import quote

import pytest

from control_plane.domain.rollout import Phase
from control_plane.services.access import Role
from tests.web.conftest import Web, said
from tests.web.test_overview import serve, settle

NASTY = '<img src=x onerror=alert(1)>"\u202e𝕏'


async def head(web: Web) -> int:
    found: int = (await web.api.ok("GET", "/fleets/default"))["revision"]
    return found


async def redeploy(web: Web, reason: str = "") -> None:
    """Make version 2 of half_plus_two stable, and have that come true."""
    body = {"versions": [1, 2], "labels": {"stable": 2}, "force": True, "reason": reason}
    await web.api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    await settle(web, Phase.SUCCEEDED)


async def two_states(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)
    await redeploy(web, NASTY)


async def test_events_are_told_the_newest_first_with_who_and_why(web: Web) -> None:
    await two_states(web)
    told = await web.text("/ui/history")
    assert told.index("half_plus_two 1, 2, stable → 2") < told.index("Server added")
    assert f"local : {NASTY}" in told
    assert "<img src=x" not in (await web.get("/history")).text


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("fleet=default", "Server added", "Model created"),
        ("model=half_plus_two", "Version registered", "Server added"),
        ("server=a", "Server added", "Version registered"),
        ("kind=version.registered", "version 2", "Server added a"),
        ("kind=server", "Server added a", "size bytes"),
        ("actor=nobody", "No event matches.", "#1"),
        ("until=2020-01-01T00:00", "No event matches.", "#1"),
        ("since=2020-01-01T00:00", "#1", "No event matches."),
        ("since=2099-01-01T00:00", "No event matches.", "#1"),
    ],
)
async def test_filters_live_in_the_address(web: Web, query: str, there: str, gone: str) -> None:
    await two_states(web)
    told = said((await web.get(f"/ui/history?{query}")).text)
    assert there in told
    assert gone not in told


async def test_older_events_are_on_pages_of_their_own(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.web.history.PAGE", 3)
    await two_states(web)
    seen: list[str] = []
    path = "/history?fleet=default"
    while path:
        page = (await web.get(path)).text
        seen += [part.partition('"')[0] for part in page.split('id="event-')[1:]]
        _, _, rest = page.partition('rel="next" href="')
        path = rest.partition('"')[0].replace("&amp;", "&")
    whole = (await web.api.ok("GET", "/events?fleet=default&page_size=500"))["items"]
    assert seen == [str(one["seq"]) for one in reversed(whole)]


async def test_the_page_and_its_json_tell_the_same(web: Web) -> None:
    await two_states(web)
    found: Any = await web.api.ok("GET", "/events:newest?server=a&page_size=2")
    assert [one["kind"] for one in found["items"]] == ["server.added"]
    assert found["next_page_token"] == ""
    first = await web.api.ok("GET", "/events:newest?page_size=2")
    token = first["next_page_token"]
    rest = await web.api.ok("GET", f"/events:newest?page_size=500&page_token={token}")
    numbers = [one["seq"] for one in first["items"] + rest["items"]]
    assert numbers == list(range(numbers[0], 0, -1))


async def test_a_time_that_is_none_is_refused_with_how_to_write_one(web: Web) -> None:
    for path in ("/history?since=soon", "/history/state?fleet=default&at=9999-99-99"):
        answer = await web.get(path)
        assert answer.status_code == 422
        assert "as 2026-07-01T12:30, in UTC" in said(answer.text)


async def test_which_version_answered_is_asked_in_a_sentence(web: Web) -> None:
    assert "Which version answered label" in await web.text("/history/label")
    await two_states(web)
    told = await web.text("/history/label?label=stable&model=half_plus_two&fleet=default")
    assert "No server was ever seen to answer so." in told
    answer = await web.get("/history/label?label=stable&model=ghost&fleet=default")
    assert answer.status_code == 404


async def test_the_state_at_a_revision_stands_beside_what_is_now(web: Web) -> None:
    await two_states(web)
    number = await head(web)
    told = await web.text(f"/history/state?fleet=default&revision={number - 1}")
    assert f"revision {number - 1}" in told
    assert "stable → 1" in told
    assert "stable → 2" in told
    assert "changed" in told
    told = await web.text("/history/state?fleet=default&at=2020-01-01T00:00")
    assert "Before the first revision" in told


async def test_restoring_shows_its_plan_and_does_that_and_nothing_else(web: Web) -> None:
    await two_states(web)
    number = await head(web)
    path = f"/history/restore?fleet=default&revision={number - 1}"
    page = (await web.get(path)).text
    assert "half_plus_two stable 2 → 1" in said(page)
    hash_ = page.partition('name="plan_hash" value="')[2].partition('"')[0]
    sent = {"fleet": "default", "revision": str(number - 1), "plan_hash": hash_, "reason": "back"}
    stale = await web.send("/ui/restore", {**sent, "plan_hash": "another"})
    assert stale.status_code == 412
    assert "The plan is not the one that you saw" in said(stale.text)
    assert await head(web) == number
    answer = await web.send("/ui/restore", sent)
    assert answer.headers["location"].startswith(("/rollouts/", "/fleets/default"))
    restored = await web.api.ok("GET", f"/fleets/default/revisions/{number + 1}")
    assert (restored["kind"], restored["reason"]) == ("restore", "back")
    assert restored["changes"]["half_plus_two"]["labels"] == {"stable": 1}


async def test_a_restore_that_is_not_possible_says_why(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.FAILED)
    await redeploy(web)
    number = await head(web)
    told = await web.text(f"/history/restore?fleet=default&revision={number - 1}")
    assert "never succeeded" in told
    assert (await web.get("/history/restore?fleet=default&revision=x")).status_code == 404
    assert (await web.get("/history/restore?fleet=default&revision=99")).status_code == 404


async def test_a_viewer_sees_the_plan_and_may_not_carry_it_out(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await two_states(guarded)
    number = await head(guarded)
    await guarded.log_in("grace", Role.VIEWER)
    page = await guarded.text(f"/history/restore?fleet=default&revision={number - 1}")
    assert "You are viewer; this needs operator." in page
    sent = {"fleet": "default", "revision": str(number - 1), "plan_hash": "any"}
    assert (await guarded.send("/ui/restore", sent)).status_code == 403


async def test_a_query_of_anything_is_text(web: Web) -> None:
    await two_states(web)
    page = (await web.get(f"/history?model={quote(NASTY)}&kind={quote(NASTY)}")).text
    assert "<img src=x" not in page
    assert "No event matches." in said(page)
