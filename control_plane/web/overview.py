"""The overview: is everything fine, and if not, what to do."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from starlette.responses import Response

from control_plane.services.access import Role
from control_plane.services.overview import DAY, STATES, overview
from control_plane.web.visit import Place, Visit

Json = Mapping[str, Any]
_TICK_S: Final = 6 * 3600
_LISTED: Final = 6  # changes that are told in words below the line


async def _show(visit: Visit) -> Response:
    return visit.page("overview.html", **await _facts(visit))


async def _board(visit: Visit) -> Response:
    return visit.page("overview/board.html", **await _facts(visit))


async def _facts(visit: Visit) -> dict[str, Any]:
    told = await overview(visit.site.db, visit.site.clock())
    asked = visit.request.query_params.get("state", "")
    wanted = asked if asked in STATES else ""
    return {
        "told": told,
        "wanted": wanted,
        "models": [one for one in told["models"] if wanted in ("", one["state"])],
        "dots": [_dot(one, told["at"]) for one in reversed(told["changes"])],
        "ticks": _ticks(told["at"]),
        "listed": told["changes"][:_LISTED],
        "may_operate": visit.may(Role.OPERATOR),
    }


def _dot(change: Json, now: str) -> Json:
    """Where a change stands on the line, in percent, and how it looks."""
    return {**change, "x": _x(datetime.fromisoformat(change["at"]), now), "look": _look(change)}


def _look(change: Json) -> str:
    """Tell rollbacks and failures from what went well, by more than the colour."""
    if change["phase"] in ("failed", "aborted"):
        return "failed"
    if change["kind"] == "rollback" or change["phase"] == "rolled_back":
        return "rolled_back"
    return "succeeded" if change["phase"] == "succeeded" else "rolling"


def _ticks(now: str) -> list[Json]:
    """Return every sixth full hour of the last day that stands free of both ends."""
    end = datetime.fromisoformat(now).timestamp()
    first = int((end - DAY.total_seconds()) // _TICK_S + 1)
    hours = (
        datetime.fromtimestamp(at * _TICK_S, datetime.fromisoformat(now).tzinfo)
        for at in range(first, int(end // _TICK_S) + 1)
    )
    placed = ((at, _x(at, now)) for at in hours)
    return [{"at": at, "x": x} for at, x in placed if 4 < x < 94]


def _x(at: datetime, now: str) -> float:
    age = datetime.fromisoformat(now) - at
    return round(max(0.0, min(100.0, 100 - 100 * (age / DAY))), 2)


PLACES: Final = (
    Place("/", "overview", _show),
    Place("/ui/overview", "overview_board", _board),
)
