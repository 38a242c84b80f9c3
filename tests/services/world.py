"""A small world for use cases: a fleet of two servers, two models, a clock that tests move."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from control_plane.domain.advance import Facts, Reach, ServerFact
from control_plane.domain.catalog import Model, Version
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.promotion import DeployRequest, PromoteRequest, RollbackRequest
from control_plane.domain.revision import Deployment, Revision
from control_plane.domain.rollout import Phase, Rollout
from control_plane.reconcile.rollout import advance_rollout
from control_plane.services import deployments, promotion
from control_plane.services.changes import Call, Outcome, Started
from control_plane.store import catalog, fleets, journal, leases, revisions, rollouts
from control_plane.store.database import Database, Page

FLEET = "default"
SERVERS = ("a", "b")
REACHED = ServerFact(Reach.REACHED, "there")
AWAY = ServerFact(Reach.UNREACHABLE, "does not answer")
FAILED = ServerFact(Reach.FAILED, "version 2 failed to load", "Data loss: not an sstable")
ALL_REACHED = dict.fromkeys(SERVERS, REACHED)


@dataclass
class World:
    """Use cases with the clock, ids and actor filled in."""

    db: Database
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    epoch: int = 0
    ids: int = 0
    committed: list[Outcome] = field(default_factory=list)

    def call(self, reason: str = "", *, dry_run: bool = False, if_match: int | None = None) -> Call:
        self.ids += 1
        self.now += timedelta(minutes=1)
        return Call("ada", self.now, f"r{self.ids}", reason, dry_run, if_match)

    async def set_up(self, servers: tuple[str, ...] = SERVERS) -> None:
        async with self.db.begin() as s:
            for name in ("m", "other"):
                await catalog.add_model(s, Model(name, f"/models/{name}", self.now, "ada"))
                for number in (1, 2, 3, 4):
                    await catalog.add_version(s, Version(name, number, self.now, "ada", digest="d"))
            for name in servers:
                await fleets.add_server(
                    s, Server(FLEET, name, f"{name}:8500", self.now, taken_over=True)
                )
            lease = await leases.acquire(s, FLEET, "tests", 3600.0)
        assert lease is not None
        self.epoch = lease.epoch

    async def deploy(
        self, versions: set[int], model: str = "m", keep: int = 1, **labels: int
    ) -> Started:
        request = DeployRequest(frozenset(versions), labels, keep_previous=keep)
        outcome = await deployments.put_deployment(self.db, FLEET, model, request, self.call())
        return begun(outcome)

    async def promote(
        self,
        version: int,
        model: str = "m",
        label: str = "stable",
        *,
        strategy: str = "",
        supersede: bool = False,
    ) -> Started:
        request = PromoteRequest(label, version, strategy=strategy, supersede=supersede)
        return begun(await promotion.promote(self.db, FLEET, model, request, self.call()))

    async def rollback(self, to_version: int | None = None, label: str = "stable") -> Started:
        request = RollbackRequest(label, to_version)
        return begun(await promotion.rollback(self.db, FLEET, "m", request, self.call()))

    async def step(self, id_: str, facts: Mapping[str, ServerFact] = ALL_REACHED) -> Rollout:
        given = Facts(facts)
        return await advance_rollout(self.db, FLEET, id_, given, epoch=self.epoch, now=self.now)

    async def finish(
        self, outcome: Started, facts: Mapping[str, ServerFact] = ALL_REACHED
    ) -> Rollout:
        rollout = outcome.rollout
        for _ in range(10):
            if not rollout.phase.live:
                return rollout
            rollout = await self.step(rollout.id, facts)
        raise AssertionError(rollout.sentence)

    async def done(self, outcome: Started) -> Rollout:
        rollout = await self.finish(outcome)
        assert rollout.phase is Phase.SUCCEEDED, rollout.sentence
        return rollout

    async def head(self, model: str = "m") -> Deployment:
        return (await self.heads())[model]

    async def heads(self) -> Mapping[str, Deployment]:
        async with self.db.read() as s:
            found = await revisions.head(s, FLEET)
        return {model: one.deployment for model, one in found.items()}

    async def history(self) -> tuple[Revision, ...]:
        async with self.db.read() as s:
            return tuple(reversed((await revisions.revisions(s, FLEET, Page())).items))

    async def rollout(self, id_: str) -> Rollout:
        async with self.db.read() as s:
            return await rollouts.rollout(s, id_)

    async def events(self, kind: EventKind) -> tuple[Event, ...]:
        async with self.db.read() as s:
            return await journal.events(s, 0, 1000, kind=str(kind))


def begun(outcome: Outcome) -> Started:
    assert isinstance(outcome, Started), outcome
    return outcome


def serving(*versions: int, model: str = "m", **labels: int) -> Deployment:
    return Deployment(model, frozenset(versions), labels)
