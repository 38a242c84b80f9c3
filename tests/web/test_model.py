"""The models list and a model's page: what they say, and that what others wrote stays text."""

from typing import Any

import pytest

from control_plane.domain.observed import VersionSeen
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.state import State
from control_plane.services.access import Role
from control_plane.store import leases, revisions
from control_plane.web.model_matrix import columns
from tests.api.test_served import CORRUPT
from tests.api.test_views import AT, available, fleet_of_two, observe, seen
from tests.web.conftest import Web, said
from tests.web.test_overview import NASTY

PAGE = "/fleets/default/models/half_plus_two"
BOARD = f"/ui{PAGE}"
PART = {"HX-Request": "true"}
CHINESE = {"Accept-Language": "zh"}


async def serve(web: Web) -> None:
    """Serve 1 and 2 on server a; on b, 2 is corrupt."""
    await fleet_of_two(web.api)
    await observe(web.api, "a", seen(available(1, 2)))
    await observe(web.api, "b", seen(available(1) | {2: CORRUPT}))


async def test_the_page_says_what_is_served_where(web: Web) -> None:
    await serve(web)
    told = await web.text(PAGE)
    assert "half_plus_two" in told
    assert "stable → leads to version 1" in told
    assert "answers on 2 of 2 servers" in told
    assert "they get 2, and stable is 1" in told
    assert "first_deploy" not in told
    assert 'name: "half_plus_two"' in told
    assert "serving_default" in told
    assert "DT_FLOAT" in told


async def test_a_corrupt_version_is_told_in_the_servers_words_and_without_colour(web: Web) -> None:
    await serve(web)
    for path in (PAGE, BOARD):
        told = await web.text(path)
        assert f"END {CORRUPT.error}" in told
        assert "AVAILABLE" in told


async def test_what_does_not_answer_is_not_known_whatever_was_seen_last(web: Web) -> None:
    await serve(web)
    async with web.api.db.begin() as s:
        (lease,) = [one for one, _ in (await leases.left(s)).values()]
        await leases.release(s, lease)
    page = (await web.get(BOARD)).text
    assert "AVAILABLE" not in said(page.partition('id="servers"')[2].partition("</section>")[0])
    assert "Nobody looks at this fleet" in said(page)
    assert "answers on" not in said(page)
    assert "of 2 servers" not in said(page.partition('id="versions"')[2].partition("</table>")[0])


@pytest.mark.parametrize("headers", [{}, CHINESE])
async def test_what_people_and_servers_wrote_is_shown_as_text(
    web: Web, headers: dict[str, str]
) -> None:
    await serve(web)
    tags = {"rtl": NASTY[:200], "html": "<b>bold</b>"}
    body = {"description": NASTY[:4_000], "owner": NASTY[:100], "tags": tags}
    await web.api.ok("PATCH", "/models/half_plus_two", json=body)
    words = {"description": NASTY[:2_000], "tags": tags}
    await web.api.ok("PATCH", "/models/half_plus_two/versions/2", json=words)
    nasty = VersionSeen(State.END, AT, error_code=5, error=NASTY)
    await observe(web.api, "b", seen(available(1) | {2: nasty}))
    for path in (PAGE, BOARD, "/models", "/ui/models"):
        page = (await web.get(path, **headers)).text
        assert "<script>alert" not in page
        assert "<b>bold" not in page
        assert "<script>alert(1)</script>" in said(page)


async def test_a_model_that_vanished_is_a_sentence_and_a_way_on(web: Web) -> None:
    answer = await web.get("/fleets/default/models/<b>ghost")
    assert answer.status_code == 404
    assert "<b>ghost" not in answer.text
    assert 'href="/"' in answer.text
    part = await web.get("/ui/fleets/default/models/ghost", **PART)
    assert part.status_code == 200
    assert 'id="model-board"' in part.text
    assert "This model is not there any more" in said(part.text)
    assert 'href="/models"' in part.text
    assert "healthy" not in said(part.text)


async def test_a_model_that_the_fleet_does_not_serve_says_how_to(web: Web) -> None:
    body = {"name": "spare", "base_path": "/nowhere", "force": True}
    await web.api.ok("POST", "/models", json=body)
    told = await web.text("/fleets/default/models/spare")
    assert "not served here" in told
    assert "tfsctl version scan spare" in told


async def test_a_viewer_cannot_press_and_is_told_why(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await serve(guarded)
    await guarded.log_in("grace", Role.VIEWER)
    page = (await guarded.get(PAGE)).text
    assert "You are viewer; this needs operator." in page
    assert f'href="{PAGE}/promote' not in page


async def test_the_form_refuses_what_is_no_json_and_names_the_input(web: Web) -> None:
    await serve(web)
    form = {"at": "label:stable", "input.x": "[1,"}
    answer = await web.send(PAGE, form)
    assert answer.status_code == 422
    assert "x: no JSON" in said(answer.text)
    assert ">\n[1,</textarea>" in answer.text
    headers = {"Sec-Fetch-Site": "same-origin", **PART}
    part = await web.send(PAGE, form, headers)
    assert part.status_code == 200
    assert "x: no JSON" in said(part.text)
    assert "<html" not in part.text


async def test_a_call_of_another_site_is_refused(web: Web) -> None:
    await serve(web)
    answer = await web.send(PAGE, {"input.x": "[1]"}, {"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


async def test_a_model_whose_servers_do_not_answer_says_so(web: Web) -> None:
    await fleet_of_two(web.api)
    answer = await web.send(PAGE, {"at": "label:stable", "input.x": "[1.0]"})
    assert answer.status_code == 503
    assert "no server of the fleet default answers" in said(answer.text)


async def test_the_list_finds_filters_and_links(web: Web) -> None:
    told = await web.text("/models")
    assert "No model is registered yet." in told
    await serve(web)
    body = {"name": "spare", "base_path": "/nowhere", "force": True}
    await web.api.ok("POST", "/models", json=body)
    page = (await web.get("/models")).text
    assert f'href="{PAGE}"' in page
    assert "No fleet serves it." in said(page)
    assert "spare" not in await web.text("/models?q=half")
    assert "half_plus_two" not in await web.text("/models?state=unserved")
    assert "No model matches." in await web.text("/models?q=<script>")
    assert "half_plus_two" in await web.text("/models?state=pink", **CHINESE)


async def test_a_version_is_compared_with_stable(web: Web) -> None:
    await serve(web)
    told = await web.text(f"{PAGE}?version=2")
    assert "Against stable 1 : identical" in told
    for wrong in ("abc", "99", "9" * 30, "٣"):
        assert "Signatures · version 1" in await web.text(f"{PAGE}?version={wrong}")


async def test_loads_are_given_to_the_plot(web: Web) -> None:
    await serve(web)
    answer: Any = (await web.get(f"/ui{PAGE}/loads")).json()
    assert answer == []


async def test_a_label_on_a_version_that_nobody_registered_does_no_harm(web: Web) -> None:
    await serve(web)
    async with web.api.db.begin() as s:
        last = await revisions.last_changed(s, "default", "half_plus_two")
        await revisions.append(
            s,
            "default",
            kind=Kind.ADOPT,
            actor="loop",
            reason="found on its servers",
            changes={"half_plus_two": Deployment("half_plus_two", frozenset({9}), {"stable": 9})},
            expected={"half_plus_two": last},
            now=web.api.parts.clock(),
        )
    told = await web.text(PAGE)
    assert "stable → leads to version 9" in told
    assert "found on its servers" in told


def server(name: str, **more: Any) -> dict[str, Any]:
    told = {"server": name, "status": "ready", "drained": False, "known": True, "ours": True}
    return told | more


def test_many_servers_that_say_the_same_share_a_column_and_the_odd_one_comes_first() -> None:
    seen_there = {"state": "AVAILABLE", "since": None, "failed": False, "error": "", "able": None}
    names = [f"s{number}" for number in range(50)]
    states = dict.fromkeys(names, seen_there) | {"s7": seen_there | {"state": "LOADING"}}
    row = {"version": 1, "wanted": True, "labels": [], "states": states}
    found = columns([server(name) for name in names], [row])
    assert [len(one.servers) for one in found] == [1, 49]
    assert found[0].servers[0]["server"] == "s7"
    assert found[0].cells[0].word == "LOADING"
    few = columns([server(name) for name in names[:3]], [row])
    assert [len(one.servers) for one in few] == [1, 1, 1]
