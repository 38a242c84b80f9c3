"""One server: how it is and why, what runs there, what the doctor finds, and what to do with it.

Each action has a page of its own that says what will happen to whom, and takes a reason.
"""

from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from control_plane.domain.errors import Denied, NotFound
from control_plane.domain.events import Event, EventKind
from control_plane.services import doctor, fleets
from control_plane.services.access import Role
from control_plane.services.commit import nothing_more
from control_plane.services.server_page import server_page
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
VERBS: Final = ("take_over", "drain", "undrain", "remove", "enforce")
_NEEDS: Final = {"remove": Role.ADMIN}
MOST_REASON: Final = 1_024


async def _show(visit: Visit) -> Response:
    facts = await _facts(visit)
    examined = await _examined(visit) if "doctor" in visit.request.query_params else None
    return visit.page("server.html", **facts, examined=examined)


async def _board(visit: Visit) -> Response:
    return visit.page("server/board.html", **await _facts(visit), examined=None)


async def _doctor(visit: Visit) -> Response:
    of = visit.request.query_params.get("of", "")[:40]  # the status that the page shows
    examined = await _examined(visit)
    return visit.page("server/doctor.html", shown=of, examined=examined, **_named(visit))


async def _examined(visit: Visit) -> Json:
    named = _named(visit)
    site = visit.site
    return await doctor.of_server(site.db, named["fleet"], named["server"], site.clock)


async def _facts(visit: Visit) -> Json:
    named = _named(visit)
    one = await server_page(visit.site.db, named["fleet"], named["server"])
    verbs = [verb for verb in VERBS if _applies(verb, one)]
    return {
        **named,
        "one": one,
        "latency_ms": visit.site.latency_ms(named["fleet"], named["server"]),
        "verbs": {verb: _why_not(visit, verb, one) for verb in verbs},
        "failed": sorted(_failed(one)),
    }


def _named(visit: Visit) -> Json:
    return {name: visit.request.path_params[name] for name in ("fleet", "server")}


def _failed(one: Json) -> list[tuple[str, str, str]]:
    """Return the versions whose load failed, with the server's words."""
    return [
        (model, number, version["error"])
        for model, held in one["models"].items()
        for number, version in held["versions"].items()
        if version.get("error")
    ]


def _applies(verb: str, one: Json) -> bool:
    """Whether a verb has a sense for a server as it stands."""
    match verb:
        case "take_over":
            return not one["taken_over"]
        case "enforce":
            return bool(one["taken_over"])
        case "drain":
            return not one["drained"]
        case "undrain":
            return bool(one["drained"])
        case _:
            return True


def _why_not(visit: Visit, verb: str, one: Json) -> str:
    """Say why a verb is not possible now; "" if it is."""
    if why_not := visit.may(_NEEDS.get(verb, Role.OPERATOR)):
        return why_not
    if verb == "remove" and one["listed"]:
        return visit.t("servers.listed", source=one["source"])
    if verb == "enforce" and one["status"] != "drifted":
        return visit.t("servers.not_drifted")
    return ""


async def _ask(visit: Visit) -> Response:
    verb, facts = _verb(visit), await _facts(visit)
    if verb not in facts["verbs"]:
        return visit.go(visit.link("server", **_named(visit)))
    return visit.page("server/ask.html", **facts, verb=verb, why_not=facts["verbs"][verb])


async def _act(visit: Visit) -> Response:
    verb, named = _verb(visit), _named(visit)
    key = (named["fleet"], named["server"])
    call = visit.call((await visit.form()).get("reason", "").strip()[:MOST_REASON])
    event = Event(EventKind.SERVER_CHANGED, call.now, call.actor, reason=call.reason)
    await _carry_out(visit, verb, key, event)
    visit.changed(key[0])
    if verb == "remove":
        return visit.go(visit.link("fleet", fleet=key[0]))
    return visit.go(visit.link("server", **named))


async def _carry_out(visit: Visit, verb: str, key: tuple[str, str], event: Event) -> None:
    db = visit.site.db
    match verb:
        case "take_over":
            more: Json = {"expected_rv": None, "event": event, "commit": nothing_more}
            await fleets.change_server(db, key, {"taken_over": True}, **more)
        case "enforce":
            event = replace(event, kind=EventKind.SERVER_ENFORCED)
            await fleets.enforce(db, key, event=event, commit=nothing_more)
        case "drain" | "undrain":
            drains = verb == "drain"
            kind = EventKind.SERVER_DRAINED if drains else EventKind.SERVER_UNDRAINED
            event = replace(event, kind=kind)
            await fleets.drain_server(db, key, event=event, commit=nothing_more)
        case _:
            if why_not := visit.may(Role.ADMIN):
                raise Denied(why_not)
            event = replace(event, kind=EventKind.SERVER_REMOVED)
            more = {"expected_rv": None, "event": event, "commit": nothing_more}
            await fleets.remove_server(db, key, **more)


def _verb(visit: Visit) -> str:
    verb = str(visit.request.path_params["verb"])
    if verb not in VERBS:
        raise NotFound(visit.t("problem.no_page", path=visit.request.url.path))
    return verb


_PAGE: Final = "/fleets/{fleet}/servers/{server}"
PLACES: Final = (
    Place(_PAGE, "server", _show),
    Place(f"/ui{_PAGE}", "server_board", _board),
    Place(f"/ui{_PAGE}/doctor", "server_doctor", _doctor),
    Place(f"{_PAGE}/{{verb}}", "server_ask", _ask),
    Place(f"/ui{_PAGE}:{{verb}}", "server_act", _act, "POST"),
)
