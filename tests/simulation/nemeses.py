"""What goes wrong during a simulated run: all of it follows from the seed, and all of it heals."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

from control_plane.devserver.config import Entry, Specific
from control_plane.domain.errors import Rejected, Transient
from control_plane.domain.events import Event, EventKind
from control_plane.services import fleets
from control_plane.services.commit import Commit
from control_plane.services.fleets import ServerRequest
from control_plane.services.once import Stored, remember
from control_plane.store.database import Session
from tests.simulation.ground import EXTRA, FLEET, GOOD, LABEL, MODELS, Ground, Replica, path_of
from tests.simulation.server import Host, Link

REST_S = 2.0
PUSHES_IN_S = 65.0  # a third foreign push to a server within a minute would pause enforcement
Way: TypeAlias = Callable[[], Awaitable[None]]


class Nemesis:
    """One thing goes wrong after the other; `taken` is what another nemesis has hold of."""

    def __init__(
        self, ground: Ground, number: int, taken: set[str], over: Callable[[], bool]
    ) -> None:
        self._ground, self._taken, self._over = ground, taken, over
        self._by = f"nemesis:{number}"
        self._chance = random.Random(f"{ground.setup.seed} {self._by}")
        self._count = 0
        self._pushed: dict[str, float] = defaultdict(lambda: -PUSHES_IN_S)

    async def run(self) -> None:
        """Hurt and heal until it is over."""
        ways: dict[Way, int] = {
            self._kill_server: 3,
            self._freeze_server: 2,
            self._link: 4,
            self._foreign_push: 2,
            self._wedge: 1,
            self._slow_or_bad_loads: 3,
            self._poison: 1,
            self._freeze_discovery: 1,
            self._leave_the_fleet: 1,
            self._kill_replica: 3,
            self._freeze_replica: 3,
            self._end_replica: 1,
            self._database_down: 1,
            self._slow_database: 2,
            self._lossy_database: 2,
        }
        while not self._over():
            await asyncio.sleep(self._chance.choice((0.3, 3, 15)) * self._chance.random())
            (way,) = self._chance.choices([*ways], [*ways.values()])
            await way()

    @asynccontextmanager
    async def _fault(self, fault: str, target: str) -> AsyncIterator[bool]:
        """Take hold of a target, if nobody has, and write down from when to when it suffers."""
        if target in self._taken or self._over():
            yield False
            return
        self._taken.add(target)
        pen = self._ground.pen
        pen.write(self._by, "fault.on", fault=fault, target=target)
        try:
            yield True
        finally:
            pen.write(self._by, "fault.off", fault=fault, target=target)
            self._ground.loop.call_later(REST_S, self._taken.discard, target)

    async def _holds(self, *most_s: float) -> None:
        await asyncio.sleep(self._chance.choice(most_s) * self._chance.random())

    def _host(self) -> Host:
        return self._chance.choice([*self._ground.hosts.values()])

    # Servers

    async def _kill_server(self) -> None:
        host = self._host()
        async with self._fault("server-kill", host.name) as mine:
            if mine:
                host.crash()
                await self._holds(0.3, 3, 15)
                host.start(self._boot_file())

    def _boot_file(self) -> list[Entry]:
        """What a server that is started again finds to begin with; mostly nothing."""
        if self._chance.random() < 0.7:
            return []
        version = self._chance.choice(GOOD[:2])
        return [Entry(MODELS[0], path_of(MODELS[0]), policy=Specific((version,)))]

    async def _freeze_server(self) -> None:
        host = self._host()
        async with self._fault("server-pause", host.name) as mine:
            if mine and host.machine is not None:
                host.freeze()
                await self._holds(1, 7, 25)
                host.thaw()

    async def _link(self) -> None:
        host = self._host()
        links = {
            "delay": Link(delay_s=self._chance.uniform(0.05, 2)),
            "cut": Link(cuts=True),
            "deaf": Link(deaf=True),
            "half-open": Link(dead=True),
        }
        kind = self._chance.choice([*links])
        async with self._fault(f"link-{kind}", f"link-{host.name}") as mine:
            if mine:
                host.link = links[kind]
                await self._holds(1, 5, 20)
                host.link = Link()

    async def _foreign_push(self) -> None:
        """Somebody else pushes a config of their own: some of our models, or none at all."""
        host, now = self._host(), self._ground.loop.time()
        if self._pushed[host.name] > now - PUSHES_IN_S:
            return
        async with self._fault("foreign-push", host.name) as mine:
            if mine:
                self._pushed[host.name] = now
                some = self._chance.sample(MODELS, self._chance.randint(0, len(MODELS)))
                host.take([self._theirs(one) for one in some], lambda _: None)

    def _theirs(self, model: str) -> Entry:
        version = self._chance.choice((1, 2))
        label = self._chance.choice((LABEL, "theirs"))
        policy = Specific((version,))
        return Entry(model, path_of(model), policy=policy, labels={label: version})

    async def _wedge(self) -> None:
        """Somebody pushes a model that is nowhere: no reload ends until it is there."""
        host, now = self._host(), self._ground.loop.time()
        if self._pushed[host.name] > now - PUSHES_IN_S:
            return
        async with self._fault("wedge", host.name) as mine:
            if mine:
                self._pushed[host.name] = now
                ghost = Entry("ghost", "/models/ghost", policy=Specific((1,)))
                theirs = [self._theirs(one) for one in MODELS]
                host.take([*theirs, ghost], lambda _: None)
                await self._holds(5, 40)
                host.crash()
                await self._holds(1)
                host.start()

    # Storage

    async def _slow_or_bad_loads(self) -> None:
        """A version that is to be loaded takes long, or fails, until it is mended."""
        model, version = self._chance.choice(MODELS), self._chance.choice(GOOD)
        async with self._fault("slow-or-bad", model) as mine:
            if mine:
                ground, seconds = self._ground, self._chance.choice((2.0, 10.0, 40.0))
                ground.touch()
                if self._chance.random() < 0.6:
                    ground.disk.put(path_of(model), version, seconds=seconds)
                else:
                    error = "bad variables"
                    ground.disk.corrupt(path_of(model), version, error=error, seconds=seconds / 4)
                await self._holds(5, 60)
                ground.heal(model)

    async def _poison(self) -> None:
        """The load of a version ends a server."""
        host, model = self._host(), self._chance.choice(MODELS)
        async with self._fault("poison", host.name) as mine:
            if mine:
                host.poison.add((model, self._chance.choice(GOOD)))
                await self._holds(5, 60)
                host.poison.clear()
                if host.machine is None:
                    await asyncio.sleep(2.5)  # it comes up by itself

    async def _freeze_discovery(self) -> None:
        """The base path of a model is away: no server looks at any other model meanwhile."""
        model = self._chance.choice((*MODELS, EXTRA))
        async with self._fault("no-base-path", model) as mine:
            if mine:
                self._ground.hide(model)
                await self._holds(1, 10, 40)
                self._ground.heal(model)

    # The fleet

    async def _leave_the_fleet(self) -> None:
        """A server is taken out of the fleet, and comes back as it is then."""
        host = self._host()
        async with self._fault("left", host.name) as mine:
            if mine:
                await self._asked(partial(self._removed, host.name, self._once()))
                await self._holds(1, 20)
                await self._asked(partial(self._added, host.name, self._once()))

    async def _removed(self, name: str, commit: Commit[Any], replica: Replica) -> None:
        event = Event(EventKind.SERVER_REMOVED, self._ground.clock(), self._by)
        asked: Any = {"expected_rv": None, "event": event, "commit": commit}
        await fleets.remove_server(replica.store, (FLEET, name), **asked)

    async def _added(self, name: str, commit: Commit[Any], replica: Replica) -> None:
        flags, now = self._ground.server_flags(name), self._ground.clock()
        request = ServerRequest(f"{name}:8500", name, take_over=True, flags=flags)
        asked: Any = {"actor": self._by, "now": now, "commit": commit}
        await fleets.add_server(replica.store, FLEET, request, **asked)

    async def _asked(self, call: Callable[[Replica], Awaitable[None]]) -> None:
        """Have it done, however often it takes."""
        while True:
            replica = self._chance.choice(self._ground.replicas)
            try:
                await replica.ask(call, 2.0)
            except Rejected:  # it was done before, and the answer was lost
                break
            except (Transient, TimeoutError, ConnectionError):
                await asyncio.sleep(0.5)
                continue
            break
        self._ground.nudge(replica)

    def _once(self) -> Commit[Any]:
        """Take an Idempotency-Key for what comes next: a try that is late does nothing more."""
        self._count += 1
        key, now = f"{self._by}-{self._count}", self._ground.clock()

        async def commit(s: Session, outcome: object) -> None:
            await remember(s, (self._by, key, key), Stored(200, {}), now)

        return commit

    # Us

    async def _kill_replica(self) -> None:
        one = self._chance.choice(self._ground.replicas)
        async with self._fault("replica-kill", one.name) as mine:
            if mine:
                await one.kill()
                await self._holds(0.2, 3, 20)
                one.start()

    async def _end_replica(self) -> None:
        one = self._chance.choice(self._ground.replicas)
        async with self._fault("replica-end", one.name) as mine:
            if mine:
                await one.end()
                await self._holds(0.2, 3)
                one.start()

    async def _freeze_replica(self) -> None:
        one = self._chance.choice(self._ground.replicas)
        async with self._fault("replica-pause", one.name) as mine:
            if mine and one.node is not None:
                one.node.freeze()
                await self._holds(1, 5, 20)
                one.node.thaw()

    # The database

    async def _database_down(self) -> None:
        async with self._fault("database-down", "database") as mine:
            if mine:
                self._ground.store.down = True
                await self._holds(0.5, 4, 15)
                self._ground.store.down = False

    async def _slow_database(self) -> None:
        async with self._fault("database-slow", "database") as mine:
            if mine:
                self._ground.store.slow_s = self._chance.choice((0.05, 0.5, 3))
                await self._holds(2, 15)
                self._ground.store.slow_s = 0.0

    async def _lossy_database(self) -> None:
        async with self._fault("database-lossy", "database") as mine:
            if mine:
                self._ground.store.loses = self._chance.choice((0.05, 0.3))
                await self._holds(2, 15)
                self._ground.store.loses = 0.0
