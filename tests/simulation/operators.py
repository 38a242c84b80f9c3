"""Who asks the control plane for things during a simulated run, and writes down each try."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from control_plane.domain.errors import Rejected, Transient
from control_plane.domain.promotion import DeployRequest, PromoteRequest, RollbackRequest
from control_plane.services import deployments, promotion, rollouts
from control_plane.services.changes import Call, Keep, Outcome, Started
from control_plane.services.once import Stored, recall, remember
from control_plane.services.rollouts import Verb
from control_plane.store.database import Database, Session
from tests.simulation.ground import BAD, CAREFUL, EXTRA, FLEET, GOOD, LABEL, MODELS, Ground, Replica

TRIES = 12
TIMEOUT_S = 2.0
WATCH_S = 30.0
_VERBS = {"promote": 12, "group": 2, "rollback": 4, "steer": 4, "deploy": 2, "undeploy": 1}
_STEERS = (Verb.PAUSE, Verb.RESUME, Verb.ABORT, Verb.RETRY, Verb.PROMOTE_NOW)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that somebody wants, however often they have to ask."""

    name: str  # also its Idempotency-Key and its reason
    verb: str
    model: str
    version: int | None
    use_case: Callable[..., Awaitable[Outcome]]


class Operator:
    """One caller; it asks any replica."""

    def __init__(self, ground: Ground, number: int, over: Callable[[], bool]) -> None:
        self._ground, self._over = ground, over
        self._by = f"operator:{number}"
        self._chance = random.Random(f"{ground.setup.seed} {self._by}")
        self._count = 0

    async def run(self) -> None:
        """Do one thing after the other until it is over."""
        while not self._over():
            await asyncio.sleep(self._chance.choice((0.1, 1, 5, 20)) * self._chance.random())
            (verb,) = self._chance.choices([*_VERBS], [*_VERBS.values()])
            if verb == "steer":
                await self._steer(self._chance.choice(_STEERS))
                continue
            rollout = await self.carry_out(self._operation(verb))
            if rollout and self._chance.random() < 0.7:
                await self._watch(rollout)

    async def deploy(self, model: str, version: int) -> None:
        """Deploy versions 1 and 2 of a model."""
        request = DeployRequest(frozenset((1, 2)), {LABEL: version}, force=True)
        await self.carry_out(self._new("deploy", model, None, deployments.put_deployment, request))

    def _operation(self, verb: str) -> Operation:
        model = self._chance.choice(MODELS)
        match verb:
            case "promote":
                version = self._chance.choice((*GOOD, *GOOD, *GOOD, BAD))
                request = PromoteRequest(
                    LABEL,
                    version,
                    force=True,
                    supersede=self._chance.random() < 0.2,
                    strategy=self._chance.choice(("", "", CAREFUL)),
                )
                return self._new(verb, model, version, promotion.promote, request)
            case "group":
                requests = [(m, PromoteRequest(LABEL, self._good(), force=True)) for m in MODELS]
                return self._new("promote", model, None, _promote_group, requests)
            case "rollback":
                target = self._chance.choice((*GOOD, *[None] * 6))
                back = RollbackRequest(LABEL, target)
                return self._new(verb, model, target, promotion.rollback, back)
            case "deploy":
                version = self._chance.choice((1, 2))
                wanted = DeployRequest(frozenset((1, 2)), {LABEL: version}, force=True)
                return self._new(verb, EXTRA, None, deployments.put_deployment, wanted)
            case _:
                return self._new(verb, EXTRA, None, deployments.undeploy)

    def _good(self) -> int:
        return self._chance.choice(GOOD)

    def _new(
        self, verb: str, model: str, version: int | None, use_case: Any, *request: Any
    ) -> Operation:
        self._count += 1
        name = f"{self._by}-{self._count}"

        def carried_out(replica: Replica, call: Call, commit: Keep) -> Awaitable[Outcome]:
            outcome: Awaitable[Outcome] = use_case(
                replica.store, FLEET, model, *request, call, commit
            )
            return outcome

        return Operation(name, verb, model, version, carried_out)

    async def carry_out(self, wanted: Operation) -> str:
        """Ask until there is an answer; return the rollout that it names."""
        for _ in range(TRIES):
            told = await self._tried(wanted)
            if told is not None:
                return told
            await asyncio.sleep(self._chance.uniform(0.2, 0.6))
        return ""

    async def _tried(self, wanted: Operation) -> str | None:
        """Ask once; None: nobody knows whether it happened."""
        replica = self._chance.choice(self._ground.replicas)
        told: dict[str, Any] = {"op": wanted.name, "verb": wanted.verb, "model": wanted.model}
        pen = self._ground.pen
        pen.write(self._by, "api.call", **told, through=replica.name, version=wanted.version)
        try:
            answer = await replica.ask(partial(self._once, wanted), TIMEOUT_S)
        except Rejected as error:
            pen.write(self._by, "api.refused", **told, code=error.code)
            return ""
        except (Transient, TimeoutError, ConnectionError) as error:
            pen.write(self._by, "api.unknown", **told, error=repr(error))
            return None
        except Exception as error:
            self._ground.broken.append(f"{wanted.name} would be a 500: {error!r}")
            return ""
        pen.write(self._by, "api.ok", **told, **answer.body)
        return str(answer.body["rollout"])

    async def _once(self, wanted: Operation, replica: Replica) -> Stored:
        """Have one effect and one answer, as the API does."""
        identity = (self._by, wanted.name, wanted.name)
        now = self._ground.clock()

        async def commit(s: Session, outcome: Outcome) -> None:
            await remember(s, identity, _answer(outcome), now)

        call = Call(self._by, now, self._ground.new_id(), wanted.name)
        try:
            outcome = await wanted.use_case(replica, call, commit)
        except (Rejected, Transient):
            if known := await recall(replica.store, *identity):
                return known
            raise
        self._ground.nudge(replica)
        return _answer(outcome)

    async def _steer(self, verb: Verb) -> None:
        live = self._ground.live()
        if live:
            await self.steer(self._chance.choice(live), verb)

    async def steer(self, rollout: str, verb: Verb) -> None:
        """Tell a rollout something, once."""
        replica = self._chance.choice(self._ground.replicas)
        call = Call(self._by, self._ground.clock(), self._ground.new_id(), f"{verb}")

        async def told(replica: Replica) -> None:
            await rollouts.steer(replica.store, rollout, verb, call)
            self._ground.nudge(replica)

        how = "done"
        try:
            await replica.ask(told, TIMEOUT_S)
        except (Rejected, Transient, TimeoutError, ConnectionError) as error:
            how = repr(error)
        self._ground.pen.write(self._by, "steered", rollout=rollout, verb=str(verb), how=how)

    async def _watch(self, rollout: str) -> None:
        """Wait until a rollout is over, but not for ever."""
        until = self._ground.loop.time() + WATCH_S
        while self._ground.loop.time() < until and rollout in self._ground.live():
            await asyncio.sleep(0.5)


def _promote_group(
    db: Database, fleet: str, _: str, requests: Any, call: Call, commit: Keep
) -> Awaitable[Outcome]:
    return promotion.promote_group(db, fleet, requests, call, commit)


def _answer(outcome: Outcome) -> Stored:
    if isinstance(outcome, Started):
        return Stored(202, {"rollout": outcome.rollout.id, "revision": outcome.revision.number})
    return Stored(200, {"rollout": "", "revision": 0})
