"""Compare two versions of a model, or what a fleet was at two times."""

from typing import Any, Final

from starlette.responses import Response

from control_plane.services import comparison
from control_plane.web.history import LONGEST, moment
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
_DIGITS: Final = 19


async def _show(visit: Visit) -> Response:
    asked = {
        name: visit.request.query_params.get(name, "").strip()[:LONGEST]
        for name in ("model", "before", "after", "fleet", "since", "until")
    }
    facts: Json = {"versions": None, "states": None, "numbers": [], "asked": asked}
    if asked["model"]:
        facts |= await _versions(visit, asked)
    if asked["fleet"] and (since := moment("since", asked["since"])):
        until = moment("until", asked["until"])
        facts["states"] = await comparison.states(visit.site.db, asked["fleet"], since, until)
    return visit.page(
        "compare.html", tab="history", **facts, **await comparison.names(visit.site.db)
    )


async def _versions(visit: Visit, asked: dict[str, str]) -> Json:
    """Compare the versions that are asked for, else the two highest."""
    numbers = await comparison.numbers(visit.site.db, asked["model"])
    ends = [asked["before"], asked["after"]]
    if not any(ends) and len(numbers) > 1:
        ends = [str(numbers[1]), str(numbers[0])]
    if not all(one.isascii() and one.isdigit() and len(one) <= _DIGITS for one in ends):
        return {"numbers": numbers}
    asked["before"], asked["after"] = ends
    found = await comparison.versions(visit.site.db, asked["model"], int(ends[0]), int(ends[1]))
    return {"numbers": numbers, "versions": found}


PLACES: Final = (Place("/compare", "compare", _show),)
