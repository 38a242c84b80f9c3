"""The loop: keeps every server of every fleet at what it should serve, and rollouts going.

Keys say who; each is also visited on a timer, so a lost nudge costs one period. This file and
bootstrap are the only ones that read clocks and randomness.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from control_plane.domain import standing
from control_plane.domain.advance import Facts, advance
from control_plane.domain.errors import NotFound, Transient
from control_plane.domain.fleet import Server
from control_plane.domain.observed import Observed
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.standing import Standpoint, Status
from control_plane.domain.state import State
from control_plane.domain.steps import ends_at, step_key
from control_plane.failpoints import failpoint
from control_plane.reconcile.assignments import Desired, Live
from control_plane.reconcile.boot import BootConfigs
from control_plane.reconcile.desired import DesiredState
from control_plane.reconcile.gates import Gates
from control_plane.reconcile.hooks import LiveHooks
from control_plane.reconcile.leader import Leadership
from control_plane.reconcile.led import LedFleets, of_all
from control_plane.reconcile.observe import Storage
from control_plane.reconcile.plans import Plans
from control_plane.reconcile.queue import KeyedQueue
from control_plane.reconcile.recorder import Recorder
from control_plane.reconcile.rollout import advance_rollout
from control_plane.reconcile.seams import Duty
from control_plane.reconcile.server import reconcile_server
from control_plane.reconcile.sources import Discovery
from control_plane.reconcile.world import Key, Options, Tracked, World
from control_plane.serving.client import ModelServer
from control_plane.store import fleets
from control_plane.store.database import Database, installation
from control_plane.store.notices import Kind, Notice

__all__ = ["Options", "Reconciler", "ServerView"]
STOP_S = 3.0
DUTIES_S = 0.2  # sources and boot configs come after what a change moves
STUCK_S = 60.0  # a round is due every two seconds
EVIDENCE_S = 0.25  # news of servers that move nothing on are written this often
_FLEETS, _SEEN = Key("fleets"), Key("seen")
_FLUSHED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server as this process knows it at this moment."""

    server: Server
    observed: Observed
    standpoint: Standpoint | None  # None: no pass has ended yet
    status: Status
    sentence: str


class Reconciler:
    """All loops of one process."""

    def __init__(
        self,
        db: Database,
        connect: Callable[[str], ModelServer],
        clock: Callable[[], datetime],
        options: Options = Options(),  # noqa: B008 - a value
        *,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,  # in [0, 1)
    ) -> None:
        self._db = db
        self._connect = connect
        self._clock = clock
        self._options = options
        self._monotonic = monotonic
        self._uniform = uniform
        self._queue = KeyedQueue(self._work, uniform)
        self._evidence_at: dict[str, float] = {}  # per rollout: when it was written last
        self._flushed: dict[tuple[str, str], float] = {}
        self._world: World | None = None
        self._gates: Gates | None = None
        self._hooks: LiveHooks | None = None
        self._led: LedFleets | None = None
        self._plans: Plans | None = None
        self._duties: dict[str, Duty] = {}  # by the kind of their keys, one key for each fleet
        self._round_at = self._monotonic()
        self._listeners: list[Callable[[], None]] = []
        self.changed = asyncio.Event()  # set, and replaced by a new one, at every change

    async def start(self) -> None:
        """Begin; returns when it is known who leads which fleet, or the database is busy."""
        async with self._db.read() as s:
            name = await installation(s)
        holder = self._options.holder or secrets.token_hex(8)
        self._world = World(
            db=self._db,
            clock=self._clock,
            options=self._options,
            installation=name,
            desired=DesiredState(self._db, self._note),
            leadership=Leadership(self._db, holder, self._monotonic, self._options.terms),
            recorder=Recorder(self._db),
            storage=Storage(self._monotonic),
            nudge=self._queue.nudge,
            written=self._tell,
        )
        self._plans = Plans(self._world)
        commands_file = self._options.hook_commands_file
        self._hooks = self._world.hooks = LiveHooks(self._world, self._uniform, commands_file)
        self._hooks.start()
        self._gates = self._world.gates = Gates(self._world)
        self._duties["sources"] = Discovery(self._world, self._monotonic)
        self._duties["boot"] = BootConfigs(self._world, self._monotonic)
        self._led = LedFleets(self._world, self._queue, self._connect, self._left)
        await self._led.keep()
        await failpoint("start.led")
        self._queue.nudge(_FLEETS)
        self._queue.nudge(_SEEN)

    async def stop(self) -> None:
        """End everything within `STOP_S`; calls that are open are given up, not taken back."""
        world, self._world = self._world, None
        if world is None:
            return
        with suppress(TimeoutError, Transient):
            async with asyncio.timeout(STOP_S):
                await failpoint("stop.begun")
                await self._queue.close()
                await asyncio.gather(*(one.close() for one in of_all(world.tracked)))
                await world.leadership.leave()
                await failpoint("stop.left")
                if self._hooks is not None:
                    await self._hooks.close()
                if self._gates is not None:
                    await self._gates.close()
                for duty in self._duties.values():
                    duty.close()
                await world.desired.close()
                await world.storage.close()

    def nudge(self, fleet: str) -> None:
        """Look at a fleet's desired state, servers and rollouts at once, if it is ours."""
        world = self._world
        if world is None or world.leadership.led_elsewhere(fleet):
            return
        world.desired.doubt(fleet)
        self._queue.nudge(Key("fleet", fleet) if fleet in world.tracked else _FLEETS)
        self._nudge_servers(world, fleet)

    def heard(self, notice: Notice) -> None:
        """Heed what another process did: it changed fleets, or left some to us."""
        if self._world is None:
            return
        if notice.kind is not Kind.JOURNAL:
            self._queue.nudge(_FLEETS)
        missed = notice.kind is Kind.MISSED
        for fleet in tuple(self._world.tracked) if missed else notice.fleets:
            self.nudge(fleet)

    def health(self) -> Mapping[str, str]:
        """Say by part how the loop is; what begins with neither "ok" nor "degraded" is a fault."""
        known = self._world.leadership.health() if self._world else "not started"
        return {"leases": known}

    def leads(self) -> int:
        """How many fleets are ours now."""
        return self._world.leadership.count if self._world else 0

    def started(self) -> bool:
        """Whether it was ever known who leads which fleet."""
        return self._world is not None and self._world.leadership.known

    def turns(self) -> bool:
        """Whether the loop still comes round, whatever the database does."""
        return self._monotonic() - self._round_at < STUCK_S

    def listen(self, call: Callable[[], None]) -> None:
        """Have this called whenever the loop has written something."""
        self._listeners.append(call)

    def view(self, fleet: str) -> Mapping[str, ServerView]:
        """Return what is known of a fleet's servers now, by name."""
        world = self._world
        tracked = world.tracked.get(fleet, {}) if world else {}
        return {name: _view(it) for name, it in tracked.items()}

    def latency_ms(self, fleet: str, server: str) -> float | None:
        """Return the round trip to a server, smoothed; None where it is not ours or is silent."""
        it = self._world.of(fleet).get(server) if self._world else None
        return round(it.trip_s * 1e3, 2) if it and it.trip_s else None

    async def sweep(self, fleet: str) -> None:
        """Read every status of every server of a fleet now; returns when it is done."""
        world = self._world
        waiting = []
        for it in world.of(fleet).values() if world else ():
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            it.sweeps.append(done)
            waiting.append(done)
            self._queue.nudge(it.key)
        await asyncio.gather(*waiting)

    async def _work(self, key: Key) -> float | None:
        world, led = self._world, self._led
        if world is None or led is None or (key.fleet and not led.works_on(key.fleet)):
            return None
        match key.kind:
            case "server":
                it = world.of(key.fleet).get(key.name)
                return await _pass(world, it) if it else None
            case "rollout":
                return await self._rollout(world, key.fleet, key.name)
            case "fleet":
                return await self._fleet(world, led, key.fleet)
            case "plan":
                return await self._plans.keep(key.name) if self._plans else None
            case "seen":
                return await self._flush(world)
            case kind if kind in self._duties:
                return await self._duties[kind].work(key.fleet)
            case _:
                self._round_at = self._monotonic()
                return await led.keep()

    def _note(self, desired: Desired) -> None:
        if self._plans is not None:
            self._plans.note(desired)

    def _left(self, fleet: str) -> None:
        if self._gates is not None:
            self._gates.forget(fleet)
        if self._plans is not None:
            self._plans.forget(fleet)
        for duty in self._duties.values():
            duty.forget(fleet)

    async def _fleet(self, world: World, led: LedFleets, fleet: str) -> float | None:
        """Take up what changed of a fleet in the database."""
        try:
            desired = await world.desired.fresh(fleet)
        except NotFound:
            self._queue.nudge(_FLEETS)
            return None
        await led.take_up(desired)
        for it in world.of(fleet).values():
            if not it.looking and it.basis != desired.basis(it.server.name):
                self._queue.nudge(it.key)
        for one in desired.live:
            self._queue.nudge(Key("rollout", fleet, one.rollout.id))
        for kind in self._duties:
            self._queue.soon(Key(kind, fleet), DUTIES_S)
        return self._options.resync_s

    async def _rollout(self, world: World, fleet: str, name: str) -> float | None:
        epoch = world.leadership.epoch(fleet)
        if epoch is None:
            return self._options.resync_s
        desired = await world.desired.certain(fleet)
        live = desired.rollout(name)
        if live is None:
            return None
        facts, now = await _facts(world, desired, live), self._clock()
        if pause_s := self._may_wait(live, facts, now):
            return pause_s
        after = await advance_rollout(self._db, fleet, name, facts, epoch=epoch, now=now)
        self._evidence_at[name] = self._monotonic()
        if after != live.rollout:
            world.desired.moved(after)
            self._tell()
            if _stage(after) != _stage(live.rollout):
                await failpoint("step.ended")
                self._nudge_servers(world, fleet)
        if not after.phase.live:
            await failpoint("rollout.ended")
            del self._evidence_at[name]
            return None
        if _stage(after) != _stage(live.rollout):
            return 0.0
        return self._look_again_s(after, now)

    def _may_wait(self, live: Live, facts: Facts, now: datetime) -> float:
        """For how long what was found may stay unwritten: it changes words only."""
        after = advance(live.rollout, facts, now).rollout
        if after != live.rollout and _stage(after) != _stage(live.rollout):
            return 0.0
        at = self._evidence_at.setdefault(live.rollout.id, self._monotonic())
        left_s = at + EVIDENCE_S - self._monotonic()
        if after == live.rollout:
            return self._look_again_s(after, now)
        return max(left_s, 0.0)

    def _look_again_s(self, rollout: Rollout, now: datetime) -> float:
        """When time alone may move a rollout on."""
        late_s = max((rollout.deadline_at - now).total_seconds(), 1.0)
        end = ends_at(rollout)
        end_s = (end - now).total_seconds() if end else late_s
        return min(end_s if end_s > 0 else late_s, late_s, self._options.resync_s)

    async def _flush(self, world: World) -> float:
        """Write when servers answered last, those that did since the last time."""
        ours = [it for it in of_all(world.tracked) if world.leadership.may_push(it.server.fleet)]
        at = {(it.server.fleet, it.server.name): it.observed.at for it in ours}
        news = [(key, one) for key, one in at.items() if one and self._flushed.get(key) != one]
        for begin in range(0, len(news), _FLUSHED_AT_ONCE):
            some = dict(news[begin : begin + _FLUSHED_AT_ONCE])
            await failpoint("flush.begun")
            async with self._db.begin() as s:
                seen = {key: datetime.fromtimestamp(one, UTC) for key, one in some.items()}
                await fleets.touch_last_seen(s, seen)
                await failpoint("flush.before_commit")
            await failpoint("flush.committed")
            self._flushed |= some
        return self._options.flush_s

    def _nudge_servers(self, world: World, fleet: str) -> None:
        """Have every server looked at, but for those whose pass has not decided yet."""
        for it in world.tracked.get(fleet, {}).values():
            if not it.looking:
                self._queue.nudge(it.key)

    def _tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        for call in self._listeners:
            call()


async def _pass(world: World, it: Tracked) -> float:
    it.looking = True
    try:
        return await reconcile_server(world, it)
    finally:
        it.looking = False


def _view(it: Tracked) -> ServerView:
    at = it.standpoint
    if at is None:
        return ServerView(it.server, it.observed, None, Status.UNREACHABLE, "not looked at yet")
    status = standing.status(at.plan, it.observed)
    return ServerView(it.server, it.observed, at, status, at.plan.sentence)


def _stage(rollout: Rollout) -> tuple[str, bool, Phase | None]:
    """Where a rollout is, as far as it matters to servers."""
    step = rollout.step
    begun = step is not None and step.started_at is not None
    return step_key(rollout), begun, None if rollout.phase.live else rollout.phase


async def _facts(world: World, desired: Desired, live: Live) -> Facts:
    tracked, ours = world.of(desired.fleet.name), desired.counted(live)
    at = {one.name: tracked[one.name] for one in ours if one.name in tracked}
    return Facts(
        servers={
            one.name: standing.fact(
                live.rollout, live.key, at[one.name].standpoint if one.name in at else None
            )
            for one in ours
        },
        max_unavailable=desired.fleet.max_unavailable,
        key=live.key,
        old_version_gone=any(_old_version_gone(live, it.observed) for it in at.values()),
        verdict=world.gates.verdict(live),
        hooks=await world.hooks.facts(live),
    )


def _old_version_gone(live: Live, observed: Observed) -> bool:
    """Whether a version that labels pointed at before is not loaded any more on a server."""
    return any(
        version in observed.models.get(model, {})
        and observed.models[model][version].state is State.END
        for model, deployment in live.before.items()
        if deployment is not None
        for version in deployment.labels.values()
    )
