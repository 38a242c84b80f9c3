"""Notes how servers stood when a rollout was taken up, so that its plan can be kept as evidence.

Noting costs nothing: what was observed is a value that never changes. The plan itself is worked out
a moment later, when no server moves, so that it takes no time from a rollout.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from control_plane.domain.observed import Observed
from control_plane.domain.record import from_json
from control_plane.reconcile.assignments import Desired, Live
from control_plane.reconcile.world import Key, World
from control_plane.services.kept_plans import keep
from control_plane.services.plans import Asked
from control_plane.store import fleets

AFTER_S = 0.3  # a promotion of what is loaded is over by then
MOST_S = 5.0  # for so long it is put off while servers move or rollouts begin
_AGAIN_S = 0.1


@dataclass(slots=True)
class _Noted:
    asked: Asked
    at: datetime
    due: bool = False


class Plans:
    """The rollouts of our fleets whose plans are still to be worked out."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._live: dict[str, frozenset[str]] = {}  # by fleet: what was live at the last read
        self._noted: dict[str, _Noted] = {}  # by rollout

    def note(self, desired: Desired) -> None:
        """Note the rollouts that are new in a read; to be called before anybody acts on it."""
        fleet = desired.fleet.name
        known = self._live.get(fleet, frozenset())
        for live in desired.live:
            if live.rollout.id not in known:
                asked = self._asked(desired, live)
                self._noted[live.rollout.id] = _Noted(asked, self._world.clock())
                self._world.nudge(Key("plan", fleet, live.rollout.id))
        self._live[fleet] = frozenset(one.rollout.id for one in desired.live)

    def forget(self, fleet: str) -> None:
        """Let go of a fleet that is not ours any more."""
        self._live.pop(fleet, None)
        mine = [name for name, one in self._noted.items() if one.asked.fleet.name == fleet]
        for name in mine:
            del self._noted[name]

    async def keep(self, name: str) -> float | None:
        """Have a plan kept; the first pass, which comes at once, only completes what was noted."""
        noted = self._noted.get(name)
        if noted is None:
            return None
        if not noted.due:
            noted.asked = await self._completed(noted.asked)
            noted.due = True
            return AFTER_S
        waited_s = (self._world.clock() - noted.at).total_seconds()
        if waited_s < MOST_S and (self._world.moving or self._begun_s() < AFTER_S):
            return _AGAIN_S
        await keep(self._world.db, noted.asked, noted.at)
        self._noted.pop(name, None)
        return None

    def _begun_s(self) -> float:
        """How long ago the last rollout was taken up."""
        at = max(one.at for one in self._noted.values())
        return (self._world.clock() - at).total_seconds()

    def _asked(self, desired: Desired, live: Live) -> Asked:
        tracked = self._world.of(desired.fleet.name)
        servers = tuple(one.name for one in desired.servers.values() if one.taken_over)
        return Asked(
            fleet=desired.fleet,
            head={model: one for model, (one, _) in desired.heads.items()},
            journey=(live.rollout, live.before, live.after),
            others=tuple(one.rollout for one in desired.live if one is not live),
            servers=servers,
            observed={name: tracked[name].observed for name in servers if name in tracked},
        )

    async def _completed(self, asked: Asked) -> Asked:
        """Of servers that are not tracked yet, as after a start, take what was written last."""
        seen = dict(asked.observed or {})
        if missing := set(asked.servers) - seen.keys():
            async with self._world.db.read() as s:
                documents = await fleets.observations(s, asked.fleet.name)
            written = {name: from_json(documents[name]) for name in missing if name in documents}
            seen |= written
        known: dict[str, Observed] = seen
        return replace(asked, observed=known)
