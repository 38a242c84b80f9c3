"""Every registered model: where it is served, with which labels, and how it stands there."""

from collections import Counter
from datetime import datetime
from typing import Any, Final

from control_plane.domain.catalog import Model
from control_plane.services.attention import Watched
from control_plane.services.model_view import model_json
from control_plane.services.overview import STATES, model_row
from control_plane.services.sight import look
from control_plane.store import catalog, fleets, leases
from control_plane.store.database import Database, Page

Json = dict[str, Any]
NOWHERE: Final = "unserved"  # the state of a model that no fleet serves
FILTERS: Final = (*STATES, NOWHERE)
MOST: Final = 500
_ALL: Final = 100_000


async def served(db: Database, q: str, state: str, now: datetime) -> Json:
    """Return models by name, `MOST` at most, and how many deployments are in each state.

    `q` is looked for in names, descriptions and owners; `state` leaves out who is in others, ""
    nobody. The counters are of what `q` finds.
    """
    async with db.read() as s:
        seen = [
            Watched(await look(s, one.name), await leases.holder(s, one.name) is not None)
            for one in await fleets.all_fleets(s)
        ]
        found = (await catalog.models(s, q, Page(_ALL))).items
        shown = [_item(seen, one) for one in found]
        wanted = [one for one in shown if not state or state in _states(one)]
        known = await catalog.sizes(s, [one["name"] for one in wanted[:MOST]])
    numbers: dict[str, list[int]] = {}
    for name, number in known:
        numbers.setdefault(name, []).append(number)
    counts = Counter(one for item in shown for one in _states(item))
    return {
        "at": now.isoformat(),
        "q": q,
        "state": state,
        "counters": {one: counts[one] for one in FILTERS},
        "fleets": [one.sight.fleet.name for one in seen],
        "total": len(shown),
        "matching": len(wanted),
        "items": [one | _known(numbers.get(one["name"], [])) for one in wanted[:MOST]],
    }


def _item(seen: list[Watched], model: Model) -> Json:
    rows = [model_row(one, model.name) for one in seen if model.name in one.sight.heads]
    return model_json(model) | {"deployments": rows}


def _states(item: Json) -> set[str]:
    return {one["state"] for one in item["deployments"]} or {NOWHERE}


def _known(numbers: list[int]) -> Json:
    return {"versions_known": len(numbers), "newest_version": max(numbers, default=None)}
