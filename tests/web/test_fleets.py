"""Fleets and servers: shown as they are, and every action with its reason or why it cannot be."""

from control_plane.domain import leasing, record
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.state import State
from control_plane.services.access import Role
from control_plane.store import fleets, leases
from tests.web.conftest import Web, said
from tests.web.test_overview import serve

PAGE = "/fleets/default/servers/a"
ADDED = {"address": "127.0.0.1:8500", "name": "fresh", "memory_gib": "16"}


async def server(web: Web, name: str = "a") -> dict[str, object]:
    found: dict[str, object] = await web.api.ok("GET", f"/fleets/default/servers/{name}")
    return found


async def test_fleets_are_listed_with_what_they_serve(web: Web) -> None:
    assert "Nothing is served here." in await web.text("/fleets")
    await serve(web, "a", "b")
    told = await web.text("/fleets")
    assert "default" in told
    assert "1 rolling" in told
    assert "2 unreachable" in told


async def test_a_fleet_shows_servers_deployments_and_settings(web: Web) -> None:
    await serve(web, "a")
    told = await web.text("/fleets/default")
    assert "never seen yet" in told
    assert "stable → 1" in told
    assert "our config goes back" in told


async def test_what_nobody_looks_at_is_not_known_on_these_pages_either(web: Web) -> None:
    await serve(web, "a", led=False)
    for path in ("/fleets", "/fleets/default", PAGE):
        assert "not known" in await web.text(path)


async def test_the_round_trip_to_a_server_is_shown_where_it_is_known(web: Web) -> None:
    await serve(web, "a")
    assert (await server(web))["latency_ms"] is None
    web.api.nudges.latencies["default", "a"] = 1.52
    assert (await server(web))["latency_ms"] == 1.52
    status = await web.api.ok("GET", "/fleets/default/status")
    assert status["servers"][0]["latency_ms"] == 1.52
    for path in ("/fleets/default", PAGE):
        assert "1.5 ms" in await web.text(path)


async def test_who_looks_after_a_fleet_is_named_where_there_is_more_than_one(web: Web) -> None:
    await serve(web, "a", led=False)
    for holder, named in ((leasing.ALONE, False), ("replica-1", True)):
        async with web.api.db.begin() as s:
            held = await leases.acquire(s, "default", holder, 3_600)
        assert ("looked after by" in await web.text("/fleets/default")) is named
        assert held is not None
        async with web.api.db.begin() as s:
            await leases.release(s, held)


async def test_a_server_is_added_by_a_form(web: Web) -> None:
    answer = await web.send("/ui/fleets/default/servers", ADDED)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/fleets/default/servers/fresh"
    added = await server(web, "fresh")
    assert (added["taken_over"], added["memory_bytes"]) == (False, 16 * 2**30)
    assert "only watched" in await web.text("/fleets/default/servers/fresh")
    assert "default" in web.api.nudges.fleets


async def test_a_form_that_is_refused_keeps_what_was_typed_and_says_why(web: Web) -> None:
    answer = await web.send("/ui/fleets/default/servers", {**ADDED, "address": "nowhere"})
    assert answer.status_code == 422
    assert "address:" in said(answer.text)
    assert 'value="nowhere"' in answer.text
    answer = await web.send("/ui/fleets/default/servers", {**ADDED, "memory_gib": "much"})
    assert "'much' is no amount of memory" in said(answer.text)


async def test_a_server_shows_what_it_should_run_and_what_the_doctor_finds(web: Web) -> None:
    await serve(web, "a")
    told = await web.text(PAGE)
    assert "127.0.0.1:1" in told
    assert 'name: "half_plus_two"' in told
    assert "No config of ours is known to run there." in told
    assert "The doctor is looking" in told
    found = await web.text(f"/ui{PAGE}/doctor")
    assert "Reachability" in found
    assert "How to find out:" in found
    assert "Reachability" in await web.text(f"{PAGE}?doctor=yes")


async def test_a_server_tells_each_version_in_its_own_words(web: Web) -> None:
    await serve(web, "a")
    good, bad = VersionSeen(State.AVAILABLE, 1.0), VersionSeen(State.END, 1.0, 3, "no <b>file")
    seen = Observed(at=1.0, reachable=True, models={"half_plus_two": {1: good, 2: bad}})
    async with web.api.db.begin() as s:
        lease = await leases.holder(s, "default")
        assert lease is not None
        await fleets.save_observed(s, "default", "a", record.to_json(seen), epoch=lease.epoch)
    told = await web.text(PAGE)
    assert "1 AVAILABLE" in told
    assert "2 END" in told
    assert "Versions that failed to load half_plus_two 2 no <b>file" in told


async def test_drain_and_undrain_say_what_they_mean_and_keep_the_reason(web: Web) -> None:
    await serve(web, "a")
    asked = await web.text(f"{PAGE}/drain")
    assert "Drain a?" in asked
    assert "Callers are kept away from a" in asked
    await web.send(f"/ui{PAGE}:drain", {"reason": "<b>disk"})
    assert (await server(web))["drained"] is True
    told = await web.text(PAGE)
    assert "drained: callers are kept away since" in told
    assert "<b>disk" in told
    await web.send(f"/ui{PAGE}:undrain", {})
    assert (await server(web))["drained"] is False


async def test_a_watched_server_is_taken_over(web: Web) -> None:
    await web.send("/ui/fleets/default/servers", ADDED)
    page = "/fleets/default/servers/fresh"
    assert "this control plane decides what fresh serves" in await web.text(f"{page}/take_over")
    await web.send(f"/ui{page}:take_over", {"reason": "ours now"})
    assert (await server(web, "fresh"))["taken_over"] is True
    events = await web.api.ok("GET", "/events?kind=server.taken_over")
    assert events["items"][-1]["reason"] == "ours now"


async def test_a_server_is_removed_by_an_admin_only(guarded: Web) -> None:
    admin = await guarded.log_in("ada", Role.ADMIN)
    guarded.api.http.headers["Authorization"] = f"Bearer {admin}"
    await serve(guarded, "a")
    await guarded.log_in("otto", Role.OPERATOR)
    page = await guarded.get(PAGE)
    assert "You are operator; this needs admin." in said(page.text)
    assert (await guarded.send(f"/ui{PAGE}:remove", {})).status_code == 403
    await guarded.log_in("grace", Role.VIEWER)
    assert "You are viewer; this needs operator." in await guarded.text("/fleets/default")
    assert (await guarded.send("/ui/fleets/default/servers", ADDED)).status_code == 403
    assert (await guarded.send(f"/ui{PAGE}:drain", {})).status_code == 403
    assert (await server(guarded))["drained"] is False
    await guarded.log_in("adele", Role.ADMIN)
    answer = await guarded.send(f"/ui{PAGE}:remove", {})
    assert answer.headers["location"] == "/fleets/default"
    assert (await guarded.get(PAGE)).status_code == 404


async def test_what_has_no_sense_now_is_not_offered(web: Web) -> None:
    await serve(web, "a")
    page = (await web.get(PAGE)).text
    assert "It has not drifted: there is nothing to put back." in said(page)
    assert "Take over" not in said(page)
    asked = await web.get(f"{PAGE}/undrain")
    assert (asked.status_code, asked.headers["location"]) == (303, PAGE)


async def test_who_is_not_there_is_a_page_with_a_way_on(web: Web) -> None:
    paths = ("/fleets/ghost", "/fleets/default/servers/ghost", f"{PAGE}/dance")
    for path in paths:
        answer = await web.get(path)
        assert answer.status_code == 404
        assert 'href="/"' in answer.text
