"""What a simulated run stands on: servers, one database, and replicas of the real control plane."""

import asyncio
import json
import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from control_plane.devserver.config import Flags
from control_plane.devserver.disk import MemoryDisk
from control_plane.domain.catalog import Model, Version
from control_plane.domain.errors import Transient
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server, ServerFlags, Storage
from control_plane.domain.leasing import Terms
from control_plane.domain.rollout import Phase
from control_plane.domain.state import Config
from control_plane.domain.strategy_document import parse
from control_plane.reconcile.loop import Options, Reconciler
from control_plane.services import strategies
from control_plane.services.commit import nothing_more
from control_plane.store import catalog, fleets
from control_plane.store.notices import Kind, Notice
from tests.simulation.database import EPOCH, SimulatedDatabase, Store
from tests.simulation.history import Pen
from tests.simulation.server import Host, Wire
from tests.simulation.virtual import Node, VirtualLoop

FLEET, LABEL = "default", "stable"
MODELS = ("ranker", "scorer")
EXTRA = "extra"  # comes and goes
GOOD = (1, 2, 3)
BAD = 4
CAREFUL = "careful"
_CAREFUL = {
    "steps": [
        "load",
        {"canary": {"servers": "50%"}},
        {"bake": {"seconds": 20}},
        {"promote": {"waves": [1, "all"]}},
        {"drain": {"seconds": 5}},
    ]
}
_SAVED = Path(__file__).parents[1] / "models"
_HEARD_S = 0.05
_LOSES_NOTICES = 0.05
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is about; everything else follows from it."""

    seed: int
    hours: float = 1.0
    servers: int = 3
    replicas: int = 2

    @property
    def storage(self) -> Storage:
        """Whether we see what servers load."""
        return "visible" if self.seed % 3 else "opaque"

    @property
    def spare(self) -> int:
        """How many servers a rollout may go on without."""
        return self.seed % 2

    @property
    def options(self) -> Options:
        """The usual ones for half of the seeds; the others have more patience."""
        chance = random.Random(f"{self.seed} options")
        if chance.random() < 0.5:
            return Options()
        terms = chance.choice((Terms(12.0, 4.0), Terms(30.0, 10.0)))
        return Options(observe_interval_s=chance.choice((2.0, 5.0)), resync_s=10.0, terms=terms)


class Replica:
    """One process of the control plane: ended and begun again under the same name."""

    def __init__(self, ground: "Ground", name: str) -> None:
        self.name = name
        self._ground = ground
        self._lives = 0
        self.node: Node | None = None
        self.db: SimulatedDatabase | None = None
        self.loop: Reconciler | None = None

    @property
    def store(self) -> SimulatedDatabase:
        """Its connection to the database, while it is there to be asked."""
        assert self.db is not None
        return self.db

    def start(self) -> None:
        """Begin as a new process, again and again until the database answers."""
        self._lives += 1
        node = self.node = Node(self._ground.loop, self.name)
        node.start(self._run(node, f"{self.name}-{self._lives}"))

    async def _run(self, node: Node, holder: str) -> None:
        ground = self._ground
        self.db = SimulatedDatabase(ground.store, node)
        options = replace(ground.setup.options, holder=holder)
        made = Reconciler(
            self.db,
            lambda address: ground.wire(address, node, holder),
            ground.clock,
            options,
            monotonic=ground.loop.time,
            uniform=random.Random(f"{ground.setup.seed} {holder}").random,
        )
        made.listen(lambda: ground.told_by(self))
        while True:
            with suppress(Transient):
                await made.start()
                break
            await asyncio.sleep(0.2)
        self.loop = made

    async def kill(self) -> None:
        """End without a word."""
        node, self.loop = self.node, None
        if node is not None and node.alive:
            if self.db is not None:
                self.db.cut()
            await node.kill()
            if self.db is not None:
                self.db.cut()

    async def end(self) -> None:
        """End politely."""
        loop, node = self.loop, self.node
        if loop is not None and node is not None:
            with suppress(asyncio.CancelledError):
                await node.start(loop.stop())
        await self.kill()
        self._ground.tell_others(self, Notice(Kind.LEASES))

    def hears(self, notice: Notice) -> None:
        """Get a notice of another process."""
        if self.loop is not None:
            self.loop.heard(notice)

    async def ask(self, call: Callable[["Replica"], Awaitable[T]], timeout_s: float) -> T:
        """Have it do something, as a caller from outside.

        Raises:
            TimeoutError: no answer; it may yet be done.
            ConnectionError: it is not there.
        """
        if self.loop is None or self.node is None:
            raise ConnectionError(self.name)

        async def done() -> T:
            return await call(self)

        job = self.node.start(done())
        job.add_done_callback(lambda it: it.cancelled() or it.exception())  # heard or not
        await asyncio.wait([job], timeout=timeout_s)
        if not job.done():
            raise TimeoutError
        if job.cancelled():
            raise ConnectionError(self.name)
        return job.result()


class Ground:
    """Everything that runs, and who writes the history."""

    def __init__(self, setup: Setup, home: Path, loop: VirtualLoop) -> None:
        self.setup, self.home, self.loop, self.pen = setup, home, loop, Pen()
        self.chance = random.Random(f"{setup.seed} ground")
        self.store = Store(home / "control-plane.db", self.chance, loop.time)
        self.disk = MemoryDisk()
        self.models = home / "models"  # as we see them, where we do
        self.unable: set[tuple[str, int]] = set()
        self.ids = 0
        self.hosts = {f"s{n}": self._host(n) for n in range(setup.servers)}
        self.replicas = [Replica(self, f"r{n}") for n in range(setup.replicas)]
        self.storms = False  # something may go wrong now
        self.broken: list[str] = []  # promises that were seen broken when it happened

    def clock(self) -> datetime:
        """The wall clock of all processes."""
        return EPOCH + timedelta(seconds=self.loop.time())

    def new_id(self) -> str:
        self.ids += 1
        return f"x{self.ids}"

    def _host(self, number: int) -> Host:
        chance = random.Random(f"{self.setup.seed} server {number}")
        flags = Flags(
            max_num_load_retries=number % 2,
            load_retry_interval_micros=500_000,
            num_load_threads=2 * (number % 2),
            num_unload_threads=2 * (number % 2),
            allow_version_labels_for_unavailable_models=bool(number % 3),
        )
        return Host(f"s{number}", flags, self.disk, chance, self.pen)

    def flagged(self) -> list[str]:
        """The servers that take labels on what is not loaded yet."""
        hosts = self.hosts.items()
        return [n for n, one in hosts if one.flags.allow_version_labels_for_unavailable_models]

    def wire(self, address: str, node: Node, holder: str) -> Wire:
        """Connect a process to a server."""

        def sending(host: Host, config: Config) -> None:
            self._check_push(host, config, holder)

        host = self.hosts[address.partition(":")[0]]
        return Wire(host, node, self.chance, self.unable, sending)

    def _check_push(self, host: Host, config: Config, holder: str) -> None:
        """S8: a push goes out under a lease, and what it is was committed before."""
        lease = self.store.ask("SELECT holder, epoch, expires_at > strftime('', 'now') FROM leases")
        if [(who, bool(lasts)) for who, _, lasts in lease] != [(holder, True)]:
            self.broken.append(f"S8: {holder} pushes to {host.name} while the lease is {lease}")
            return
        sql = "SELECT document -> 'intent' -> 'epoch' FROM observations WHERE server = ?"
        epochs = self.store.ask(sql, host.name)  # none: it was taken out a moment ago
        if epochs and epochs != [(str(lease[0][1]),)]:
            text = (
                f"S8: {holder} pushes to {host.name} under {lease[0][1]}, the intent's is {epochs}"
            )
            self.broken.append(text)

    def told_by(self, sender: Replica) -> None:
        """The loop of a process has written something."""
        self.tell_others(sender, Notice(Kind.JOURNAL, frozenset({FLEET})))

    def tell_others(self, sender: Replica, notice: Notice) -> None:
        """Wake the other processes up; a notice may get lost."""
        for one in self.replicas:
            lost = self.chance.random() < _LOSES_NOTICES
            if one is not sender and one.node is not None and one.node.alive and not lost:
                delay_s = self.chance.uniform(0.001, _HEARD_S)
                context = one.node.context.copy()
                self.loop.call_later(delay_s, one.hears, notice, context=context)

    def nudge(self, replica: Replica) -> None:
        """Have what was done through a process seen at once."""
        if replica.loop is not None:
            replica.loop.nudge(FLEET)
        self.told_by(replica)

    async def begin(self) -> None:
        """Register everything, and let every process begin."""
        self._stock()
        self.store.ask("UPDATE installation SET id = 'simulated'")  # migrations draw one
        node = Node(self.loop, "setup")
        db = SimulatedDatabase(self.store, node)
        async with db.begin() as s:
            await self._register(s)
        event = Event(EventKind.STRATEGY_CHANGED, self.clock(), "ada")
        strategy = parse(_CAREFUL)
        await strategies.put(db, CAREFUL, strategy, event=event, expected=None, commit=nothing_more)
        db.cut()
        for one in self.replicas:
            one.start()

    def _stock(self) -> None:
        for model in (*MODELS, EXTRA):
            self.heal(model)
            if self.setup.storage == "visible":
                shutil.copytree(_SAVED / "half_plus_two", self.models / model)
                bad = "corrupt" if model == MODELS[1] else "no_variables"
                shutil.copytree(_SAVED / bad / "1", self.models / model / str(BAD))

    async def _register(self, s: Any) -> None:
        now = self.clock()
        for model in (*MODELS, EXTRA):
            await catalog.add_model(s, Model(model, path_of(model), now, "ada"))
            for number in (*GOOD, BAD):
                await catalog.add_version(s, Version(model, number, now, "ada", digest="d"))
        fleet = await fleets.fleet(s, FLEET)
        paths = {"/models": str(self.models)}
        seen = replace(
            fleet, storage=self.setup.storage, path_map=paths, max_unavailable=self.setup.spare
        )
        await fleets.save_fleet(s, seen, None)
        for name in self.hosts:
            flags, address = self.server_flags(name), f"{name}:8500"
            server = Server(FLEET, name, address, now, taken_over=True, flags=flags)
            await fleets.add_server(s, server)

    def server_flags(self, name: str) -> ServerFlags:
        """What somebody tells of how a server was started."""
        flags = self.hosts[name].flags
        return ServerFlags(
            allow_version_labels_for_unavailable_models=name in self.flagged(),
            num_load_threads=flags.num_load_threads,
            num_unload_threads=flags.num_unload_threads,
            max_num_load_retries=flags.max_num_load_retries,
            file_system_poll_wait_seconds=1,
        )

    def hide(self, model: str) -> None:
        """Take the base path of a model away, from servers and from us."""
        self.touch()
        self.disk.vanish(path_of(model))
        if (folder := self.models / model).exists():
            folder.rename(self.models / f".{model}")

    def heal(self, model: str) -> None:
        """Give a model the versions that it is to have, and show it again."""
        self.touch()
        if (hidden := self.models / f".{model}").exists():
            hidden.rename(self.models / model)
        self.disk.put(path_of(model), *GOOD)
        if model == MODELS[1]:
            self.disk.corrupt(path_of(model), BAD, error="bad variables")
        else:
            self.disk.put(path_of(model), BAD)
            self.unable.add((model, BAD))

    def touch(self) -> None:
        """Bring every server up to now, before something changes that it sees."""
        for host in self.hosts.values():
            host.advance()

    def live(self) -> list[str]:
        """The rollouts that are not over."""
        phases = ", ".join(f"'{one}'" for one in Phase if one.live)
        sql = f"SELECT id FROM rollouts WHERE phase IN ({phases}) ORDER BY created_at, id"
        return [str(one) for (one,) in self.store.ask(sql)]

    def head(self) -> dict[str, dict[str, Any]]:
        """What every deployed model should serve."""
        sql = """SELECT model, document FROM deployments AS d WHERE number =
            (SELECT max(number) FROM deployments WHERE model = d.model) ORDER BY model"""
        found = {model: json.loads(one) for model, one in self.store.ask(sql) if one}
        return {model: one for model, one in found.items() if one}

    def leader(self) -> Replica | None:
        """The process that leads, if one does."""
        return next((one for one in self.replicas if one.loop and one.loop.leads()), None)


def path_of(model: str) -> str:
    return f"/models/{model}"
