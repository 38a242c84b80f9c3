"""What goes wrong during a run, and when: all of it follows from the seed, and all of it heals."""

import asyncio
import random
import signal
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import grpc
import grpc.aio

from control_plane.serving import stubs
from tests.chaos.ground import MODELS, Ground, Placed
from tests.chaos.processes import crash
from tests.chaos.proxy import NOTHING, Fault, Proxy

AT_A_TIME = 2
PUSHES, PUSHES_IN_S = 1, 65.0  # of each nemesis: a third one would pause enforcement
_PUSH_S = 3.0
REST_S = 2.0  # between two faults of one target: it has to do something to be caught at it
BACK_S = 20.0
Way: TypeAlias = Callable[[], Awaitable[None]]


class Nemesis:
    """One thing goes wrong after the other; `taken` is what another nemesis has hold of."""

    def __init__(
        self, ground: Ground, number: int, taken: set[str], over: Callable[[], bool]
    ) -> None:
        self._ground, self._over = ground, over
        self._by = f"nemesis:{number}"
        self._chance = random.Random(f"{ground.setup.seed} {self._by}")
        self._taken = taken
        self._pushed: dict[str, deque[float]] = defaultdict(deque)
        self.count = 0
        self.last = ""  # what it did last

    async def run(self) -> None:
        """Hurt and heal until it is over."""
        while not self._over():
            await asyncio.sleep(self._chance.uniform(0.2, 2))
            await self.one({**self._of_servers(), **self._of_us()})

    async def one_of_servers(self) -> None:
        """Hurt one server, and heal it."""
        await self.one(self._of_servers())

    async def one(self, ways: Mapping[Way, int]) -> None:
        """Hurt in one of these ways, by their weights, and heal."""
        (way,) = self._chance.choices([*ways], [*ways.values()])
        await way()

    def _of_servers(self) -> dict[Way, int]:
        return {
            self._kill_server: 3,
            self._pause_server: 2,
            self._server_link: 4,
            self._foreign_push: 2,
        }

    def _of_us(self) -> dict[Way, int]:
        ways: dict[Way, int] = {
            self._kill_replica: 2,
            self._pause_replica: 3,
            self._end_replica: 1,
            self._client_link: 3,
        }
        if self._ground.database is not None:
            ways |= {self._database_link: 2, self._database_down: 1}
        if self._ground.disk is not None:
            ways |= {self._disk_full: 3}
        return ways

    @asynccontextmanager
    async def _fault(self, fault: str, target: str) -> AsyncIterator[bool]:
        """Take hold of a target, if nobody has, and write down from when to when it suffers."""
        if target in self._taken or self._over():
            yield False
            return
        self._taken.add(target)
        self.count += 1
        self.last = f"{fault} {target}"
        self._ground.pen.write(self._by, "fault.on", fault=fault, target=target)
        try:
            yield True
        finally:
            self._ground.pen.write(self._by, "fault.off", fault=fault, target=target)
            asyncio.get_running_loop().call_later(REST_S, self._taken.discard, target)

    async def _holds(self, least_s: float, most_s: float) -> None:
        """Let it last, but no longer than the run."""
        until = time.monotonic() + self._chance.uniform(least_s, most_s)
        while time.monotonic() < until and not self._over():
            await asyncio.sleep(0.05)

    async def _kill_server(self) -> None:
        await self._killed("server-kill", self._chance.choice(self._ground.servers))

    async def _kill_replica(self) -> None:
        await self._killed("replica-kill", self._chance.choice(self._ground.replicas))

    async def _killed(self, fault: str, one: Placed) -> None:
        async with self._fault(fault, one.name) as mine:
            if mine:
                one.process.kill()
                await self._holds(0, 2)
                one.process.start()
                await self._back(one)

    async def _end_replica(self) -> None:
        one = self._chance.choice(self._ground.replicas)
        async with self._fault("replica-end", one.name) as mine:
            if mine:
                took_s = await asyncio.to_thread(one.process.end)
                self._ground.pen.write(self._by, "replica.ended", replica=one.name, took_s=took_s)
                one.process.start()
                await self._back(one)

    async def _back(self, one: Placed) -> None:
        """Wait until it listens again: who starts for ever shows nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BACK_S):
                while not await _listens(one.port):
                    await asyncio.sleep(0.05)

    async def _pause_server(self) -> None:
        await self._paused("server-pause", self._chance.choice(self._ground.servers))

    async def _pause_replica(self) -> None:
        await self._paused("replica-pause", self._chance.choice(self._ground.replicas))

    async def _paused(self, fault: str, one: Placed) -> None:
        async with self._fault(fault, one.name) as mine:
            if mine:
                one.process.signal(signal.SIGSTOP)
                await self._holds(0.5, 7)
                one.process.signal(signal.SIGCONT)

    async def _server_link(self) -> None:
        one = self._chance.choice(self._ground.servers)
        await self._linked(f"link-{one.name}", one.proxy, 5)

    async def _client_link(self) -> None:
        one = self._chance.choice(self._ground.replicas)
        await self._linked(f"link-{one.name}", one.proxy, 4)

    async def _database_link(self) -> None:
        if (proxy := self._ground.database) is not None:
            await self._linked("database", proxy, 3)

    async def _linked(self, target: str, proxy: Proxy, most_s: float) -> None:
        kind, fault = self._chance.choice(
            [
                ("delay", Fault(delay_s=self._chance.uniform(0.05, 1))),
                ("cut", Fault(cut_after=self._chance.randint(1, 4000))),
                ("half-open", Fault(forwards=False, answers=False)),
                ("deaf", Fault(answers=False)),
            ]
        )
        async with self._fault(f"link-{kind}", target) as mine:
            if mine:
                proxy.set(fault)
                await self._holds(0.3, most_s)
                proxy.set(NOTHING)

    async def _database_down(self) -> None:
        proxy, postgres = self._ground.database, self._ground.postgres
        async with self._fault("database-down", "database") as mine:
            if mine and proxy is not None and postgres is not None:
                proxy.set(Fault(refuses=True))
                await asyncio.to_thread(crash, postgres)
                await self._holds(0.3, 5)
                proxy.set(NOTHING)

    async def _disk_full(self) -> None:
        disk = self._ground.disk
        async with self._fault("disk-full", "disk") as mine:
            if mine and disk is not None:
                await asyncio.to_thread(disk.fill)
                await self._holds(0.3, 6)
                disk.free()

    async def _foreign_push(self) -> None:
        """Somebody else pushes a config of its own, past the proxy."""
        one = self._chance.choice(self._ground.servers)
        pushed, now = self._pushed[one.name], time.monotonic()
        while pushed and pushed[0] < now - PUSHES_IN_S:
            pushed.popleft()
        if len(pushed) == PUSHES:
            return
        async with self._fault("foreign-push", one.name) as mine:
            if mine:
                pushed.append(now)
                await self._push(one)

    async def _push(self, one: Placed) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{one.port}") as channel:
            models = stubs.ModelServiceStub(channel)
            request = stubs.ReloadConfigRequest(config=self._foreign_config())
            try:
                await models.HandleReloadConfigRequest(request, timeout=_PUSH_S)
            except grpc.aio.AioRpcError as error:
                told = {"server": one.name, "code": error.code().name}
                self._ground.pen.write(self._by, "push.refused", **told)

    def _foreign_config(self) -> stubs.ModelServerConfig:
        """Some of our models, with a label of its own; or none at all."""
        config = stubs.ModelServerConfig()
        config.model_config_list.SetInParent()
        for model in self._chance.sample(MODELS, self._chance.randint(0, len(MODELS))):
            entry = config.model_config_list.config.add(
                name=model,
                base_path=str(self._ground.home / "models" / model),
                model_platform="tensorflow",
            )
            version = self._chance.choice((1, 2))
            entry.model_version_policy.specific.versions.append(version)
            entry.version_labels[self._chance.choice(("stable", "theirs"))] = version
        return config


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
