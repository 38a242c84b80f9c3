"""Which fleets this process works on, and their servers: taken up with a lease, let go without."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from control_plane.domain.errors import StoreBusy
from control_plane.domain.fleet import Server
from control_plane.domain.observed import Instant, Observed
from control_plane.domain.record import from_json
from control_plane.domain.standing import Status
from control_plane.domain.state import ReloadAnswer
from control_plane.failpoints import failpoint
from control_plane.reconcile.assignments import Desired
from control_plane.reconcile.queue import KeyedQueue
from control_plane.reconcile.world import Key, Tracked, World
from control_plane.serving.client import ModelServer
from control_plane.store import fleets

AGAIN_S = 0.25  # after a round that the database did not answer
log = structlog.get_logger()


class LedFleets:
    """The fleets of this process; a fleet is in `world.tracked` while its lease is ours."""

    def __init__(
        self,
        world: World,
        queue: KeyedQueue[Key],
        connect: Callable[[str], ModelServer],
        left: Callable[[str], None],
    ) -> None:
        self._world = world
        self._queue = queue
        self._connect = connect
        self._left = left  # is told of each fleet that was let go
        self._leaving: frozenset[str] = frozenset()
        self._adrift = False  # the last round got no answer

    def works_on(self, fleet: str) -> bool:
        """Whether passes for this fleet may begin."""
        return fleet in self._world.tracked and fleet not in self._leaving

    async def keep(self) -> float:
        """Keep our leases, take up fleets and let go of them; return when to come again."""
        tracked = self._world.tracked
        try:
            kept = await self._world.leadership.keep()
        except StoreBusy as error:
            if not self._adrift:
                log.warning("leases not renewed", error=error.message)
            self._adrift = True
            return AGAIN_S
        if self._adrift:
            log.info("leases renewed again", fleets=len(kept.fleets))
        self._adrift = False
        for fleet in tracked.keys() - kept.fleets:
            await self._leave(fleet)
        for fleet in kept.fleets:
            if fleet in tracked and fleet not in kept.news:
                continue
            log.info("leads", fleet=fleet, epoch=self._world.leadership.epoch(fleet))
            await self._let_go(fleet, tracked.get(fleet, {}).values())
            tracked[fleet] = {}
            self._queue.nudge(Key("fleet", fleet))
        if kept.surplus:
            await self._hand_over(kept.surplus)
        return kept.again_s

    async def take_up(self, desired: Desired) -> None:
        """Track the servers that a fleet has now, each from what was written of it last."""
        fleet = desired.fleet.name
        tracked = self._world.of(fleet)
        gone = [it for name, it in tracked.items() if _moved(it, desired.servers.get(name))]
        addresses = {it.server.name for it in gone}
        await self._let_go(fleet, gone)
        missing = [one for name, one in desired.servers.items() if name not in tracked]
        if not missing:
            return
        await failpoint("fleet.before_take_up")
        async with self._world.db.read() as s:
            documents = await fleets.observations(s, fleet)
        for server in missing:
            fresh = server.name in addresses  # another address is another process
            document = {} if fresh else documents.get(server.name, {})
            tracked[server.name] = self._track(server, document)
        await failpoint("fleet.taken_up")

    async def _hand_over(self, count: int) -> None:
        """Leave fleets to others, those first on which little goes on; passes end before."""
        moving = [key.fleet for key in self._world.moving]
        quiet = sorted(self._world.tracked, key=lambda one: (moving.count(one), one))
        self._leaving = frozenset(quiet[:count])
        try:
            await failpoint("handover.begun")
            await self._queue.drain(lambda key: key.fleet in self._leaving)
            await failpoint("handover.drained")
            for fleet in self._leaving:
                await self._leave(fleet)
            await failpoint("handover.left")
            await self._world.leadership.release(self._leaving)
            await failpoint("handover.released")
        finally:
            self._leaving = frozenset()

    async def _leave(self, fleet: str) -> None:
        log.info("does not lead", fleet=fleet)
        self._queue.forget(Key("fleet", fleet))
        await self._let_go(fleet, self._world.of(fleet).values())
        self._world.tracked.pop(fleet, None)
        self._world.desired.forget(fleet)
        self._left(fleet)

    def _track(self, server: Server, document: Mapping[str, Any]) -> Tracked:
        recorded = from_json(document)
        status = Status(document["status"]) if "status" in document else None
        observed = _interrupted(recorded, self._world.now())
        client = self._connect(server.address)
        return Tracked(server, client, observed, recorded, status)

    async def _let_go(self, fleet: str, servers: Iterable[Tracked]) -> None:
        for it in list(servers):
            self._queue.forget(it.key)
            self._world.of(fleet).pop(it.server.name, None)
            self._world.moving.discard(it.key)
            await it.close()


def of_all(tracked: Mapping[str, Mapping[str, Tracked]]) -> Collection[Tracked]:
    """Return every server that is tracked."""
    return [it for servers in tracked.values() for it in servers.values()]


def _moved(it: Tracked, server: Server | None) -> bool:
    """Whether it is gone, at another address, or was registered anew: then nothing is known."""
    if server is None:
        return True
    known = it.server
    return (server.address, server.created_at) != (known.address, known.created_at)


def _interrupted(observed: Observed, now: Instant) -> Observed:
    """What a former process sent and was not told of: the effect is found out by looking."""
    intent = observed.intent
    if intent is None or intent.answer is not None:
        return observed
    lost = replace(intent, answer=ReloadAnswer("CANCELLED"), answered_at=now)
    return replace(observed, intent=lost)
