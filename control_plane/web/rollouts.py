"""The rollouts, the newest first; filters are in the address."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from control_plane.domain.rollout import Phase
from control_plane.services import rollouts
from control_plane.services.rollout_view import rollout_json
from control_plane.store.database import Page
from control_plane.web.visit import Place, Visit

PAGE_SIZE: Final = 50
_FIELDS: Final = ("fleet", "model", "phase")
_LONGEST: Final = 200


async def _show(visit: Visit) -> Response:
    return visit.page("rollouts.html", **await _facts(visit))


async def _list(visit: Visit) -> Response:
    return visit.page("rollout/list.html", **await _facts(visit))


async def _facts(visit: Visit) -> dict[str, Any]:
    asked = visit.request.query_params
    given = {name: asked.get(name, "").replace("\x00", "").strip()[:_LONGEST] for name in _FIELDS}
    if given["phase"] not in set(Phase):
        given["phase"] = ""
    after = asked.get("after", "")
    found = await rollouts.listed(visit.site.db, Page(PAGE_SIZE, after), **given)
    chosen = {name: value for name, value in given.items() if value}
    return {
        "found": [rollout_json(one) for one in found.items],
        "asked": given,
        "phases": list(Phase),
        "query": urlencode({**chosen, **({"after": after} if after else {})}),
        "rest": urlencode({name: one for name, one in chosen.items() if name != "phase"}),
        "older": urlencode({**chosen, "after": found.next}) if found.next else "",
        "first": not after,
    }


PLACES: Final = (
    Place("/rollouts", "rollouts", _show),
    Place("/ui/rollouts", "rollouts_list", _list),
)
