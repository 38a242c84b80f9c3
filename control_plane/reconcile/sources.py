"""Looks at the sources of the fleets that this process leads, and has what is found taken in.

Clocks here are monotonic: no server leaves because a wall clock jumped. What is remembered between
looks is forgotten with the lease.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from control_plane.domain.action import Blocked, Cause, Converged
from control_plane.domain.discovery import Conclusion, Watch, conclude
from control_plane.domain.errors import NotFound
from control_plane.domain.events import EventKind
from control_plane.domain.source import Report, Source
from control_plane.reconcile.world import Key, Tracked, World
from control_plane.services import discovery
from control_plane.services.discovery import Finding
from control_plane.serving.lookup import Lookup

JOIN_S = 0.5  # how often it is looked whether those who came have their config
READ_S = 1.0  # sources are read from the database no more often, however many nudges there are


@dataclass(slots=True)
class _Watched:
    """A source, as it was when it was looked at last."""

    rv: int
    looked_at: float = float("-inf")
    watch: Watch = field(default_factory=Watch)


@dataclass(slots=True)
class _Fleet:
    """What is remembered of a fleet while it is ours."""

    epoch: int
    read_at: float = float("-inf")
    sources: tuple[tuple[Source, Report], ...] = ()
    watched: dict[str, _Watched] = field(default_factory=dict)  # by source


class Discovery:
    """The sources of all fleets of this process."""

    def __init__(self, world: World, monotonic: Callable[[], float]) -> None:
        self._world = world
        self._monotonic = monotonic
        self._lookup = Lookup(world.options.dns_servers)
        self._fleets: dict[str, _Fleet] = {}

    async def work(self, fleet: str) -> float | None:
        """Look at what is due of a fleet's sources; return when to come again, None if never.

        Raises:
            LeaseLost: another process leads the fleet.
            StoreBusy: the database is busy.
        """
        epoch = self._world.leadership.epoch(fleet)
        if epoch is None:
            self._fleets.pop(fleet, None)
            return None
        known = self._fleets.get(fleet)
        if known is None or known.epoch != epoch:
            known = self._fleets[fleet] = _Fleet(epoch)
        pause_s = await self._read(known, fleet)
        due = [one for one, _ in known.sources if self._is_due(known, one)]
        await asyncio.gather(*(self._look_at(known, one) for one in due))
        new = [it for it in self._world.of(fleet).values() if not it.server.joined]
        await self._settle(known, fleet, new)
        if pause_s is None and not new:
            return None
        return min(JOIN_S, pause_s or JOIN_S) if new else pause_s

    def forget(self, fleet: str) -> None:
        """Let go of a fleet; what was found is in the database."""
        self._fleets.pop(fleet, None)

    def close(self) -> None:
        """Give up what is being looked at."""
        self._lookup.close()

    async def _read(self, known: _Fleet, fleet: str) -> float | None:
        """Read a fleet's sources unless that was done just now; return when to do so again."""
        period_s, age_s = self._world.options.discovery_s, self._monotonic() - known.read_at
        if age_s < min(READ_S, period_s):
            return min(READ_S, period_s) - age_s
        known.read_at = self._monotonic()
        known.sources = await discovery.read(self._world.db, fleet)
        return period_s if known.sources else None

    def _is_due(self, known: _Fleet, source: Source) -> bool:
        watched = known.watched.get(source.name)
        if watched is None or watched.rv != source.rv:
            watched = known.watched[source.name] = _Watched(source.rv)
        return self._monotonic() - watched.looked_at >= self._world.options.discovery_s

    async def _look_at(self, known: _Fleet, source: Source) -> None:
        watched = known.watched[source.name]
        answer = await self._lookup.find(source)
        watched.looked_at = self._monotonic()
        members = await self._members(source)
        found = conclude(
            answer, members, watched.watch, grace_s=source.grace_s, at=watched.looked_at
        )
        watched.watch = found.watch
        if await self._take_in(known, source, found):
            watched.looked_at = float("-inf")

    async def _members(self, source: Source) -> list[str]:
        """The addresses of the servers that it found before."""
        desired = await self._world.desired.certain(source.fleet)
        return [one.address for one in desired.servers.values() if one.source == source.name]

    async def _take_in(self, known: _Fleet, source: Source, found: Conclusion) -> bool:
        """Have what was found written; say whether there is more than goes in at once."""
        world, fleet = self._world, source.fleet
        before = next((report for one, report in known.sources if one.name == source.name), None)
        finding = Finding(source, before or Report(), found)
        desired = await world.desired.certain(fleet)
        servers = {one.address: one.name for one in desired.servers.values()}
        if not await discovery.is_news(world.db, finding, servers):
            return False
        epoch, now = known.epoch, world.clock()
        try:
            after = await discovery.take_in(world.db, finding, epoch=epoch, now=now)
        except NotFound:  # it was deleted meanwhile
            return False
        known.sources = tuple(
            (one, after if one.name == source.name else report) for one, report in known.sources
        )
        self._changed(fleet)
        return len((found.listed or frozenset()) - servers.keys()) > discovery.MOST_AT_ONCE

    async def _settle(self, known: _Fleet, fleet: str, new: Iterable[Tracked]) -> None:
        """Let those count that have their config; take back whom we had before."""
        left = {address for _, report in known.sources for address in report.left}
        joined = [it.server.name for it in new if _has_config(it)]
        ours = [it.server.name for it in new if it.server.address in left and _is_asked_about(it)]
        named = {EventKind.SERVER_JOINED: joined, EventKind.SERVER_TAKEN_OVER: ours}
        for kind, names in named.items():
            if names:
                epoch, now = known.epoch, self._world.clock()
                await discovery.settle(self._world.db, fleet, names, kind, epoch=epoch, now=now)
                self._changed(fleet)

    def _changed(self, fleet: str) -> None:
        self._world.written()
        self._world.desired.doubt(fleet)
        self._world.nudge(Key("fleet", fleet))


def _has_config(it: Tracked) -> bool:
    """Whether a server serves all that it should, or there is nothing yet that it should."""
    action = it.standpoint.plan.action if it.standpoint else None
    waits = isinstance(action, Blocked) and action.cause is Cause.NO_REVISION
    return it.server.taken_over and (waits or isinstance(action, Converged))


def _is_asked_about(it: Tracked) -> bool:
    """Whether our own config of long ago looks like another writer's."""
    action = it.standpoint.plan.action if it.standpoint else None
    mine = it.server.taken_over and isinstance(action, Blocked)
    return mine and isinstance(action, Blocked) and action.cause is Cause.OTHER_WRITER
