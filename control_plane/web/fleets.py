"""Fleets, and one fleet: its servers, what it serves, its settings; a form that adds a server."""

from typing import Any, Final

from starlette.responses import Response

from control_plane.domain.errors import FieldInvalid, Rejected
from control_plane.domain.leasing import ALONE
from control_plane.services import fleets, views
from control_plane.services.access import Role
from control_plane.services.commit import nothing_more
from control_plane.services.overview import overview
from control_plane.web.visit import Place, Visit

_GIB: Final = 2**30
_MOST_GIB: Final = 2**20


async def _list(visit: Visit) -> Response:
    return visit.page("fleets.html", **await _all(visit))


async def _list_part(visit: Visit) -> Response:
    return visit.page("fleets/board.html", **await _all(visit))


async def _all(visit: Visit) -> dict[str, Any]:
    told = await overview(visit.site.db, visit.site.clock())
    return {
        "fleets": told["fleets"],
        "models": told["models"],
        "attention": told["attention"],
        "at": told["at"],
    }


async def _show(visit: Visit) -> Response:
    return visit.page("fleet.html", **await _one(visit), given={}, refused="")


async def _part(visit: Visit) -> Response:
    return visit.page("fleet/board.html", **await _one(visit))


async def _one(visit: Visit) -> dict[str, Any]:
    name = visit.request.path_params["fleet"]
    sight = await views.fleet_status(visit.site.db, name)
    leader = sight["leader"]
    return {
        "fleet": await fleets.fleet(visit.site.db, name),
        "sight": sight,
        "leader": leader,
        "latencies": {
            one["name"]: visit.site.latency_ms(name, one["name"]) for one in sight["servers"]
        },
        "replica": leader["replica"] if leader and leader["replica"] != ALONE else "",
        "may_operate": visit.may(Role.OPERATOR),
    }


async def _add(visit: Visit) -> Response:
    name, form = visit.request.path_params["fleet"], await visit.form()
    call = visit.call()
    try:
        added = await fleets.add_server(
            visit.site.db,
            name,
            fleets.ServerRequest(
                address=form.get("address", "").strip(),
                name=form.get("name", "").strip(),
                rest_address=form.get("rest_address", "").strip(),
                take_over=form.get("take_over") == "yes",
                memory_bytes=_bytes(form.get("memory_gib", "").strip()),
            ),
            actor=call.actor,
            now=call.now,
            commit=nothing_more,
        )
    except Rejected as error:
        facts = await _one(visit) | {"given": form, "refused": error}
        return visit.page("fleet.html", visit.site.status_of(type(error)), **facts)
    visit.changed(name)
    return visit.go(visit.link("server", fleet=name, server=added.name))


def _bytes(gib: str) -> int | None:
    """Return how many bytes so many GiB are; None for "".

    Raises:
        FieldInvalid: not a number above 0, or beyond what any server has.
    """
    if not gib:
        return None
    try:
        number = float(gib)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MOST_GIB:
        raise FieldInvalid("memory_gib", f"{gib[:40]!r} is no amount of memory", hint="e.g. 16")
    return int(number * _GIB)


PLACES: Final = (
    Place("/fleets", "fleets", _list),
    Place("/ui/fleets", "fleets_board", _list_part),
    Place("/fleets/{fleet}", "fleet", _show),
    Place("/ui/fleets/{fleet}", "fleet_board", _part),
    Place("/ui/fleets/{fleet}/servers", "add_server", _add, "POST"),
)
