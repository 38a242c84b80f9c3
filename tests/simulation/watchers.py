"""Who looks on during a simulated run: callers by label, readers of leases, and a person."""

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.action import Blocked, Cause
from control_plane.domain.errors import Rejected, Transient
from control_plane.domain.events import Event, EventKind
from control_plane.domain.state import Resolved
from control_plane.services import fleets
from control_plane.services.commit import nothing_more
from tests.simulation.database import EPOCH
from tests.simulation.ground import FLEET, LABEL, MODELS, Ground, Replica
from tests.simulation.server import Host, pointed

LOOK_S, CALM_S = 0.5, 3.0
MARKER = "_cp_"
_RESTARTS = (Cause.WEDGED, Cause.POSTPONED, Cause.UNLOAD_OVERDUE)
_TAKES_OVER = (Cause.PAUSED, Cause.QUARANTINED, Cause.OTHER_WRITER)


class Callers:
    """Ask every server by label, as callers of models do; read who leads, and the journal."""

    def __init__(self, ground: Ground, over: Callable[[], bool]) -> None:
        self._ground, self._over = ground, over
        self._chance = random.Random(f"{ground.setup.seed} callers")
        self._after = 0

    async def run(self) -> None:
        while not self._over():
            often_s = LOOK_S if self._ground.storms else CALM_S
            await asyncio.sleep(often_s * self._chance.uniform(0.1, 2))
            for host in self._ground.hosts.values():
                self._call(host, self._chance.choice(MODELS))
            self._read_lease()
            self._read_journal()

    def _call(self, host: Host, model: str) -> None:
        host.advance()
        if host.machine is None or host.frozen or not host.listens:
            return
        told: dict[str, Any] = {"server": host.name, "model": model, "label": LABEL}
        told["began"] = self._ground.loop.time()
        match pointed(host.machine, model, LABEL):
            case Resolved(version):
                self._ground.pen.write("caller", "predict.ok", **told, version=version)
            case other:
                code = "NOT_FOUND" if "Dangling" in repr(other) else "INVALID_ARGUMENT"
                self._ground.pen.write("caller", "predict.err", **told, code=code, message="")

    def _read_lease(self) -> None:
        began = self._ground.loop.time()
        for holder, epoch in self._ground.store.ask("SELECT holder, epoch FROM leases"):
            if holder:
                pen = self._ground.pen
                pen.write("watcher", "leader.read", epoch=epoch, holder=holder, began=began)

    def _read_journal(self) -> None:
        found = self._ground.store.ask("SELECT seq FROM events WHERE seq > ?", self._after)
        if seqs := sorted(seq for (seq,) in found):
            self._after = seqs[-1]
            self._ground.pen.write("watcher", "events.read", seqs=seqs)


class Person:
    """Does what the control plane asks for, where only a person can."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def help(self) -> None:
        """Remove what blocks servers."""
        leader = self._ground.leader()
        if leader is None or leader.loop is None:
            return
        for name, view in leader.loop.view(FLEET).items():
            action = view.standpoint.plan.action if view.standpoint else None
            if not isinstance(action, Blocked):
                continue
            self._ground.pen.write("person", "helps", server=name, sentence=view.sentence)
            if action.cause in _RESTARTS:
                host = self._ground.hosts[name]
                host.crash()
                host.start()
            elif action.cause in _TAKES_OVER:
                await self._take_over(leader, name)

    async def _take_over(self, leader: Replica, name: str) -> None:
        event = Event(EventKind.SERVER_ENFORCED, self._ground.clock(), "ada")

        async def enforced(replica: Replica) -> None:
            await fleets.enforce(replica.store, (FLEET, name), event=event, commit=nothing_more)

        try:
            await leader.ask(enforced, 5.0)
        except (Rejected, Transient, TimeoutError, ConnectionError) as error:
            self._ground.pen.write("person", "not taken over", server=name, error=repr(error))
        if leader.loop is not None:
            leader.loop.nudge(FLEET)


def unsettled(ground: Ground) -> Iterator[str]:
    """Say what is not as the newest revision says, as the servers themselves answer."""
    yield from (f"rollout {one} is live" for one in ground.live())
    head = ground.head()
    for name, host in ground.hosts.items():
        host.advance()
        if host.machine is None or not host.listens:
            yield f"{name} does not listen"
            continue
        labels = {
            (model, label): version
            for model, some in host.machine.labels.items()
            for label, version in some.items()
            if not label.startswith(MARKER)
        }
        wanted = {(m, label): v for m, one in head.items() for label, v in one["labels"].items()}
        if labels != wanted:
            yield f"{name} has labels {labels}, not {wanted}"
        serving = {(m, v) for m, one in head.items() for v in one["versions"]}
        if host.machine.serving != serving:
            yield f"{name} serves {sorted(host.machine.serving)}, not {sorted(serving)}"


def latest_deadline(ground: Ground) -> float:
    """By when every live rollout has to be over, on the loop's clock."""
    found = ground.store.ask("SELECT deadline_at FROM rollouts WHERE ended_at IS NULL")
    ends = [datetime.fromisoformat(text).replace(tzinfo=UTC) for (text,) in found]
    return max([(one - EPOCH).total_seconds() for one in ends], default=0.0)
