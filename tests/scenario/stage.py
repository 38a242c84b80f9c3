"""A stage for stories: a control plane's loop on a SQLite file, and model servers as processes.

The servers run without TensorFlow, so loads are checked by their files and predictions are empty.
"""

import asyncio
import itertools
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from control_plane.domain.catalog import Model
from control_plane.domain.errors import ControlPlaneError
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.promotion import DeployRequest, PromoteRequest, RollbackRequest
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.standing import Status
from control_plane.domain.state import Absent, Config, LabelAnswer, ModelConfig, Resolved, State
from control_plane.domain.strategy_document import parse
from control_plane.reconcile.loop import Options, Reconciler
from control_plane.services import catalog, deployments, fleets, promotion, strategies
from control_plane.services import rollouts as steering
from control_plane.services.changes import Call, Outcome, Started
from control_plane.services.commit import nothing_more
from control_plane.services.fleets import ServerRequest
from control_plane.services.rollouts import Verb
from control_plane.serving.client import GrpcModelServer
from control_plane.store import fleets as store
from control_plane.store import journal, rollouts
from control_plane.store.database import Database
from tests.contract.served import free_port
from tests.databases import sqlite_url
from tests.faults.processes import Forked, the_zygote

T = TypeVar("T")
MODELS = Path(__file__).parents[1] / "models"
FLEET = "default"
ASK_S = 5.0
FAST = Options(observe_interval_s=0.3, sweep_s=3.0, resync_s=1.0, holder="stage")
POLL_S = 0.25
FLAGS: Mapping[str, object] = {"file_system_poll_wait_seconds": POLL_S, "max_num_load_retries": 0}
NO_FLAGS: Mapping[str, object] = {}
TOLD = ServerFlags(
    file_system_poll_wait_seconds=POLL_S, max_num_load_retries=0, load_retry_interval_micros=0
)
_ids = itertools.count(1)


def now() -> datetime:
    return datetime.now(UTC)


async def until(read: Callable[[], Awaitable[T]], good: Callable[[T], bool], s: float = 15.0) -> T:
    """Read again and again until it is good; fail with what was read last."""
    deadline = time.monotonic() + s
    while True:
        seen = await read()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"still {seen}"
        await asyncio.sleep(0.02)


@dataclass
class DevServer:
    """A model server's process; its address outlives it."""

    name: str
    folder: Path
    flags: dict[str, object]
    predicts: bool = False  # whether it runs TensorFlow
    port: int = field(default_factory=free_port)
    process: Forked | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def config_file(self) -> Path:
        """What it starts from; empty unless a story writes something else there."""
        return self.folder / f"{self.name}.config"

    def start(self) -> None:
        file = self.config_file
        if not file.exists():
            file.write_text("model_config_list {}")
        given = {"port": self.port, "model_config_file": file} | dict(FLAGS) | self.flags
        argv = [f"--{name}={value}" for name, value in given.items()]
        without = [] if self.predicts else ["--no_predict"]
        log = self.folder / f"{self.name}.log"
        self.process = the_zygote().devserver(log, [*without, *argv])

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None


class Stage:
    """What a story plays on."""

    def __init__(self, home: Path, options: Options = FAST) -> None:
        self.home = home
        self.options = options
        self.models = home / "models"
        self.db = Database.open(sqlite_url(home))
        self.servers: dict[str, DevServer] = {}
        self.clients: dict[str, GrpcModelServer] = {}
        self.loop: Reconciler | None = None

    # The control plane ----------------------------------------------------------------------------

    async def start_loop(self) -> Reconciler:
        self.loop = Reconciler(self.db, GrpcModelServer, now, self.options)
        await self.loop.start()
        return self.loop

    async def stop_loop(self) -> None:
        if self.loop is not None:
            await self.loop.stop()
            self.loop = None

    async def close(self) -> None:
        await self.stop_loop()
        for client in self.clients.values():
            await client.close()
        for server in self.servers.values():
            server.kill()
        await self.db.close()

    def nudge(self) -> None:
        if self.loop is not None:
            self.loop.nudge(FLEET)

    # What people do -------------------------------------------------------------------------------

    async def model(self, name: str, *versions: int, of: str = "half_plus_two") -> Path:
        """Register a model made of copies of a test model's version 1, or of its own versions."""
        for version in versions:
            source = MODELS / of / str(version)
            source = source if source.exists() else MODELS / of / "1"
            shutil.copytree(source, self.models / name / str(version))
        path = self.models / name
        await catalog.create_model(
            self.db, Model(name, str(path), now(), "test"), force=False, commit=nothing_more
        )
        await self.scan(name)
        return path

    async def scan(self, name: str) -> None:
        await catalog.scan(self.db, name, actor="test", now=now(), commit=nothing_more)

    async def server(
        self,
        name: str,
        *,
        take_over: bool = True,
        predicts: bool = False,
        flags: Mapping[str, object] = NO_FLAGS,
        told: ServerFlags = TOLD,
    ) -> DevServer:
        """Start a server with these flags besides the usual, and register it as told."""
        made = self.servers[name] = DevServer(name, self.home, dict(flags), predicts)
        made.start()
        await self.register(name, take_over=take_over, told=told)
        self.clients[name] = GrpcModelServer(made.address)
        return made

    async def register(
        self, name: str, *, take_over: bool = True, told: ServerFlags = TOLD
    ) -> None:
        """Register a server that runs, with its REST port if it has one."""
        made = self.servers[name]
        rest = f"127.0.0.1:{port}" if (port := made.flags.get("rest_api_port")) else ""
        request = ServerRequest(made.address, name, rest, take_over=take_over, flags=told)
        await fleets.add_server(
            self.db, FLEET, request, actor="test", now=now(), commit=nothing_more
        )
        self.nudge()

    async def forget(self, name: str) -> None:
        """Remove a server; its process goes on."""
        event = Event(EventKind.SERVER_REMOVED, now(), "test")
        await fleets.remove_server(
            self.db, (FLEET, name), expected_rv=None, event=event, commit=nothing_more
        )
        self.nudge()

    async def take_over(self, name: str) -> None:
        """Say that a server is ours to write to."""
        changes, event = {"taken_over": True}, Event(EventKind.SERVER_CHANGED, now(), "test")
        await fleets.change_server(
            self.db, (FLEET, name), changes, expected_rv=None, event=event, commit=nothing_more
        )
        self.nudge()

    async def move(self, name: str) -> DevServer:
        """Start the server anew at another address, and say so; the old process goes on."""
        made = self.servers[f"{name}-moved"] = DevServer(f"{name}-moved", self.home, {})
        made.start()
        async with self.db.begin() as s:
            known = await store.server(s, FLEET, name)
            await store.save_server(s, replace(known, address=made.address), None)
        await self.clients[name].close()
        self.clients[name] = GrpcModelServer(made.address)
        self.nudge()
        return made

    async def blind(self) -> None:
        """Let the control plane not see the storage, so that it has to rely on the servers."""
        async with self.db.begin() as s:
            fleet = await store.fleet(s, FLEET)
            await store.save_fleet(s, replace(fleet, storage="opaque"), None)
        self.nudge()

    async def deploy(self, model: str, *versions: int, **labels: int) -> Rollout:
        request = DeployRequest(frozenset(versions), labels, keep_previous=1)
        return self._started(
            await deployments.put_deployment(self.db, FLEET, model, request, self._call())
        )

    async def promote(
        self, model: str, version: int, *, strategy: str = "", force: bool = True
    ) -> Rollout:
        request = PromoteRequest(version=version, strategy=strategy, force=force)
        outcome = await promotion.promote(self.db, FLEET, model, request, self._call())
        return self._started(outcome)

    async def strategy(self, name: str, *steps: object) -> None:
        event = Event(EventKind.STRATEGY_CHANGED, now(), "test")
        read = parse({"steps": list(steps)})
        await strategies.put(self.db, name, read, event=event, expected=None, commit=nothing_more)

    async def steer(self, rollout: Rollout, verb: Verb, actor: str = "bob") -> Rollout:
        told = await steering.steer(self.db, rollout.id, verb, replace(self._call(), actor=actor))
        self.nudge()
        return told

    async def rollback(self, model: str, to_version: int | None = None) -> Rollout:
        call, request = self._call(), RollbackRequest(to_version=to_version)
        outcome = await promotion.rollback(self.db, FLEET, model, request, call)
        return self._started(outcome)

    async def undeploy(self, model: str) -> Rollout:
        return self._started(await deployments.undeploy(self.db, FLEET, model, self._call()))

    def _call(self) -> Call:
        return Call(actor="test", now=now(), new_id=f"r{next(_ids)}", reason="a story")

    def _started(self, outcome: Outcome) -> Rollout:
        assert isinstance(outcome, Started), outcome
        self.nudge()
        return outcome.rollout

    # What is seen ---------------------------------------------------------------------------------

    async def rollout(self, rollout: Rollout) -> Rollout:
        async with self.db.read() as s:
            return await rollouts.rollout(s, rollout.id)

    async def over(self, rollout: Rollout, s: float = 15.0) -> Rollout:
        """Wait until a rollout has ended, however."""
        return await until(lambda: self.rollout(rollout), lambda one: not one.phase.live, s)

    async def done(self, rollout: Rollout, s: float = 15.0) -> Rollout:
        """Wait until a rollout has succeeded."""
        ended = await self.over(rollout, s)
        assert ended.phase is Phase.SUCCEEDED, (ended.sentence, ended.error)
        return ended

    async def label(self, server: str, model: str, label: str = "stable") -> LabelAnswer | None:
        """Ask a server itself; None if it does not answer."""
        try:
            return await self.clients[server].label(model, label, timeout_s=ASK_S)
        except ControlPlaneError:
            return None

    async def answers(self, server: str, model: str, version: int, s: float = 15.0) -> None:
        """Wait until `stable` answers with a version."""
        wanted = Resolved(version)
        await until(lambda: self.label(server, model), lambda seen: seen == wanted, s)

    async def states(self, server: str, model: str) -> dict[int, str]:
        """Ask a server itself for the states of a model's versions."""
        with suppress(ControlPlaneError):
            seen = await self.clients[server].status(model, timeout_s=ASK_S)
            return {version: one.state.name for version, one in sorted(seen.items())}
        return {}

    async def status(self, server: str) -> Status | None:
        """How the loop says that a server stands."""
        found = self.loop.view(FLEET).get(server) if self.loop else None
        return found.status if found and found.standpoint else None

    async def sentence(self, server: str) -> str:
        """What the loop says of a server."""
        found = self.loop.view(FLEET).get(server) if self.loop else None
        return found.sentence if found else ""

    async def settles(self, server: str, status: Status, s: float = 15.0) -> None:
        """Wait until a server stands so."""
        await until(lambda: self.status(server), lambda seen: seen is status, s)

    async def events(self, kind: str = "") -> tuple[Event, ...]:
        async with self.db.read() as s:
            return await journal.events(s, 0, 1000, kind=kind)

    async def foreign(self, server: str, *names: str) -> None:
        """Another writer replaces a server's config."""
        config = Config(
            {name: ModelConfig(str(self.models / name), frozenset({1})) for name in names}
        )
        answer = await self.clients[server].reload(config, None, "", timeout_s=ASK_S)
        assert answer.ok, answer


__all__ = ["FAST", "FLEET", "Absent", "DevServer", "Resolved", "Stage", "State", "until"]
