"""Finding things by a part of their name: models, fleets, servers, rollouts."""

from collections.abc import Iterable
from typing import Any, Final

from control_plane.store import catalog, fleets, rollouts
from control_plane.store.database import Database, Page

Json = dict[str, Any]
MOST: Final = 20  # of a kind
_RECENT: Final = 500  # rollouts that are looked through


async def search(db: Database, q: str) -> Json:
    """Return what has `q` in its name, `MOST` of a kind at most; of rollouts the newest."""
    wanted = q.strip().lower()
    if not wanted:
        return {"q": q, "models": [], "fleets": [], "servers": [], "rollouts": []}
    async with db.read() as s:
        models = (await catalog.models(s, wanted, Page(MOST))).items
        every = await fleets.all_fleets(s)
        servers = [one for fleet in every for one in await fleets.servers(s, fleet.name)]
        recent = (await rollouts.rollouts(s, Page(_RECENT))).items
    return {
        "q": q,
        "models": [{"model": one.name, "description": one.description} for one in models],
        "fleets": _some({"fleet": one.name} for one in every if wanted in one.name.lower()),
        "servers": _some(
            {"fleet": one.fleet, "server": one.name, "address": one.address}
            for one in servers
            if wanted in one.name.lower() or wanted in one.address.lower()
        ),
        "rollouts": _some(
            {
                "rollout": one.id,
                "fleet": one.fleet,
                "models": list(one.models),
                "kind": str(one.kind),
                "phase": str(one.phase),
                "at": one.created_at.isoformat(),
            }
            for one in recent
            if wanted in one.id or any(wanted in model.lower() for model in one.models)
        ),
    }


def _some(found: Iterable[Json]) -> list[Json]:
    return [one for one, _ in zip(found, range(MOST), strict=False)]
