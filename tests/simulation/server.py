"""Model servers: the dev server's machine in virtual time, and the way there, which may fail."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from control_plane.devserver.config import Entry, Flags, Specific
from control_plane.devserver.disk import MemoryDisk
from control_plane.devserver.machine import Call, Machine
from control_plane.devserver.refusal import Code, Refusal
from control_plane.domain.errors import DeadlineExpired, ServerUnreachable
from control_plane.domain.signature import Signatures
from control_plane.domain.state import (
    Ability,
    Able,
    Absent,
    Config,
    Dangling,
    LabelAnswer,
    Marker,
    ReloadAnswer,
    Resolved,
    State,
    VersionStatus,
)
from control_plane.serving.client import Prediction
from tests.simulation.history import Pen
from tests.simulation.virtual import OUTSIDE, Node

_SLOTS = 2
_LOOK_S = 0.25  # what blocks is looked at so often, should somebody else have freed it
_QUICK_S = 0.003
T = TypeVar("T")


@dataclass(slots=True)
class Link:
    """The way to a server from everywhere; a question or an answer may stay on it."""

    delay_s: float = 0.0
    cuts: bool = False  # answers are lost, and that is seen at once
    deaf: bool = False  # questions arrive, answers never do
    dead: bool = False  # nothing arrives, and nobody is told


class Host:
    """Where one server process runs, ends and begins again."""

    def __init__(
        self, name: str, flags: Flags, disk: MemoryDisk, chance: random.Random, pen: Pen
    ) -> None:
        self.name, self.flags = name, flags
        self.link = Link()
        self.poison: set[tuple[str, int]] = set()  # a load of it ends the process
        self.restarts = 0
        self._disk, self._chance, self._pen = disk, chance, pen
        self._frozen_at: float | None = None
        self._skew = 0.0  # for so long it stood still
        self._late: list[Callable[[], None]] = []
        self.machine: Machine | None = None
        self.start()

    @property
    def listens(self) -> bool:
        """Whether its port is open."""
        return self.machine is not None and self.machine.ready

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def start(self, config: list[Entry] | None = None) -> None:
        """Begin as a new process."""
        self._frozen_at, self._skew, self._late = None, 0.0, []
        now = asyncio.get_running_loop().time()
        self._pen.write(f"server:{self.name}", "server.began")
        self.machine = Machine(self.flags, self._disk, config or [], now=now, chooser=self._chance)
        self.restarts += 1
        self._tell()

    def crash(self) -> None:
        """End, wherever it is."""
        if self.machine is not None:
            self.advance()
            self.machine.crash()
            self.machine = None

    def freeze(self) -> None:
        """Stand still; its own time does so too."""
        self.advance()
        self._frozen_at = asyncio.get_running_loop().time()

    def thaw(self) -> None:
        """Go on, with what was asked meanwhile."""
        if self._frozen_at is None:
            return
        self._skew += asyncio.get_running_loop().time() - self._frozen_at
        self._frozen_at = None
        late, self._late = self._late, []
        for one in late:
            one()

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        if self.machine is None or self.frozen:
            return
        self.machine.advance(asyncio.get_running_loop().time() - self._skew)
        self._tell()
        if self.poison and self._chokes():
            self.machine.crash()
            self.machine = None
            loop = asyncio.get_running_loop()
            loop.call_later(self._chance.uniform(0.2, 2), self._again, context=OUTSIDE)

    def _again(self) -> None:
        if self.machine is None:
            self.start()

    def _chokes(self) -> bool:
        return any(
            self.states(name).get(version, VersionStatus(State.END)).state is State.LOADING
            for name, version in sorted(self.poison)
        )

    def states(self, name: str) -> Mapping[int, VersionStatus]:
        """The states of a model's versions."""
        try:
            return self.machine.status(name) if self.machine else {}
        except Refusal:
            return {}

    def take(self, config: list[Entry], taken: Callable[[Call], None]) -> None:
        """Get a reload, whoever still waits for its answer; later, if it stands still."""

        def now() -> None:
            self.advance()
            if self.machine is not None:
                taken(self.machine.reload(config))
                self._tell()

        if self.frozen:
            self._late.append(now)
        else:
            now()

    def _tell(self) -> None:
        machine, skew = self.machine, self._skew
        while machine is not None and machine.news:
            one = machine.news.popleft()
            data = dict(one.data)
            if "config" in data:
                data["config"] = [_told(entry) for entry in data["config"]]
            self._pen.write(f"server:{self.name}", one.kind, at_t=one.at + skew, **data)


def _told(entry: Entry) -> dict[str, Any]:
    versions = sorted(entry.policy.versions) if isinstance(entry.policy, Specific) else []
    return {"name": entry.name, "versions": versions, "labels": dict(entry.labels)}


@dataclass(slots=True)
class Wire:
    """A process's connection to a server, in place of gRPC."""

    host: Host
    node: Node
    chance: random.Random
    unable: set[tuple[str, int]]  # they load, and answer nothing
    sending: Callable[[Host, Config], None]  # is told right before a reload goes out
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SLOTS))

    async def status(self, model: str, *, timeout_s: float) -> Mapping[int, VersionStatus]:
        """Return the state of each version that the server knows."""
        return await self._asked(lambda _: dict(self.host.states(model)), timeout_s)

    async def label(self, model: str, label: str, *, timeout_s: float) -> LabelAnswer:
        """Ask where a label points."""
        return await self._asked(lambda machine: pointed(machine, model, label), timeout_s)

    async def able(
        self,
        model: str,
        version: int,
        *,
        warm_up: bytes = b"",
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Able:
        """Ask a version one real request."""
        del warm_up, signatures

        def ask(machine: Machine) -> Able:
            if (model, version) not in machine.serving:
                return Able(Ability.UNABLE, f"Servable not found: Specific({model}, {version})")
            if (model, version) in self.unable:
                return Able(Ability.UNABLE, "Could not find variable w")
            return Able(Ability.PROVEN)

        try:
            return await self._asked(ask, timeout_s)
        except (ServerUnreachable, DeadlineExpired) as error:
            return Able(Ability.RETRY, error.message)

    async def reload(
        self, config: Config, marker: Marker | None, owner: str, *, timeout_s: float
    ) -> ReloadAnswer:
        """Send the whole config."""
        try:
            async with self._slot(timeout_s):
                self.sending(self.host, config)
                return await self._reloaded(entries_of(config, marker, owner))
        except (ServerUnreachable, DeadlineExpired) as error:
            return ReloadAnswer(error.details["grpc_code"], error.message)

    async def _reloaded(self, config: list[Entry]) -> ReloadAnswer:
        machine, calls = self.host.machine, list[Call]()
        self._dial()
        if not self.host.link.dead:  # once sent, it arrives, whoever gives it up
            loop = asyncio.get_running_loop()
            arrives = self.host.take
            loop.call_later(self._travel_s(), arrives, config, calls.append, context=OUTSIDE)
        while not calls or calls[0].answer is None:
            await asyncio.sleep(self._until_due_s())
            self.host.advance()
            if self.host.machine is not machine:
                raise away("Socket closed")
        await self._back()
        return ReloadAnswer(*calls[0].answer)

    def _until_due_s(self) -> float:
        machine = self.host.machine
        due = machine.due() if machine is not None and not self.host.frozen else None
        if machine is None or due is None:
            return _LOOK_S
        return min(max(due - machine.now, 0.001), _LOOK_S)

    async def _asked(self, ask: Callable[[Machine], T], timeout_s: float) -> T:
        async with self._slot(timeout_s):
            self._dial()
            while self.host.link.dead:
                await asyncio.sleep(_LOOK_S)
            await asyncio.sleep(self._travel_s())
            while self.host.frozen:
                await asyncio.sleep(_LOOK_S)
            self.host.advance()
            if self.host.machine is None:
                raise away("Socket closed")
            answer = ask(self.host.machine)
            await self._back()
        return answer

    def _dial(self) -> None:
        if not self.node.alive:
            raise away("this process is gone")
        if not self.host.listens:
            raise away("Connection refused")

    def _travel_s(self) -> float:
        return (_QUICK_S + self.host.link.delay_s) * self.chance.random()

    async def _back(self) -> None:
        while self.host.link.dead or self.host.link.deaf:
            await asyncio.sleep(_LOOK_S)
        if self.host.link.cuts:
            raise away("Socket closed")
        if self.host.link.delay_s:
            await asyncio.sleep(self._travel_s())

    @asynccontextmanager
    async def _slot(self, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                yield
        except TimeoutError:
            raise DeadlineExpired("Deadline Exceeded", grpc_code="DEADLINE_EXCEEDED") from None

    async def metadata(
        self, model: str, *, at: int | str | None = None, timeout_s: float
    ) -> tuple[int, Signatures]:
        """Tell no signatures: there are no models behind these servers."""
        raise away("nothing predicts here")

    async def predict(
        self,
        model: str,
        body: Mapping[str, Any],
        *,
        at: int | str | None = None,
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Prediction:
        """Predict nothing."""
        raise away("nothing predicts here")

    async def predict_raw(
        self, model: str, request: bytes, *, at: int | str | None = None, timeout_s: float
    ) -> Prediction:
        """Predict nothing."""
        raise away("nothing predicts here")

    async def close(self) -> None:
        """Give the connection up."""


def away(why: str) -> ServerUnreachable:
    """Return the error of a call that got no answer."""
    return ServerUnreachable(why, grpc_code="UNAVAILABLE")


def pointed(machine: Machine, model: str, label: str) -> LabelAnswer:
    """Where a label points, as the server answers."""
    try:
        return Resolved(machine.resolve(model, label=label))
    except Refusal as refusal:
        if refusal.code is Code.NOT_FOUND and "Specific(" in refusal.message:
            return Dangling(int(refusal.message.rpartition(", ")[2].rstrip(")")))
        return Absent()


def entries_of(config: Config, marker: Marker | None, owner: str) -> list[Entry]:
    """Return a config as it goes out, with its markers."""
    entries = []
    for name, one in config.models.items():
        labels = dict(one.labels)
        if marker and marker.model == name:
            labels |= {config.digest_label: marker.version, owner: marker.version}
        policy = Specific(tuple(sorted(one.versions)))
        entries.append(Entry(name, one.base_path, policy=policy, labels=labels))
    return entries
