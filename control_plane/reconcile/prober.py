"""Sends predictions through every server while a rollout runs, as callers would, and counts.

It asks by label, by version and unlabelled in turn, each server over a connection of its own. It
asks only for what the server is to keep and was seen to have, so that every failure is one.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import structlog

from control_plane.domain.errors import ControlPlaneError, ServerUnreachable
from control_plane.domain.probing import Probed
from control_plane.domain.replay import percentile
from control_plane.reconcile import recordings
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.recordings import Found
from control_plane.reconcile.world import Tracked, World
from control_plane.serving import stubs, wire
from control_plane.serving.replay import Asker, Heard, Pair

TIMEOUT_S = 10.0
_SYNC_S = 0.5  # new servers are taken up this often
_KEPT = 20_000  # latencies, the newest
_REFUSED = ("INVALID_ARGUMENT", "OUT_OF_RANGE")
_NO_SUCH_LABEL = "servable version label"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Question:
    """Which version is asked for, and how."""

    model: str
    way: str  # label, version, unlabelled
    at: int | str | None

    def __str__(self) -> str:
        """Say it as evidence does."""
        return f"{self.model} {self.way}" + ("" if self.at is None else f" {self.at}")


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    failures: int = 0
    unreachable: int = 0
    refused: int = 0
    worst_ms: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    by: Counter[str] = field(default_factory=Counter)
    servers: Counter[str] = field(default_factory=Counter)
    first_failure: dict[str, Any] | None = None
    last_refusal: str = ""


class Prober:
    """Probes one rollout from now until it ends."""

    def __init__(self, world: World, live: Live, per_s: float) -> None:
        self._world = world
        self._fleet = live.rollout.fleet
        self._id = live.rollout.id
        self._pairs = {one.model: one for one in recordings.pairs(live)}
        self._pause_s = 1 / per_s
        self._requests: dict[str, Any] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._tally = _Tally()
        self.task = asyncio.create_task(self._run())

    @property
    def seen(self) -> Probed:
        """All that was sent so far."""
        it = self._tally
        return Probed(
            requests=it.requests,
            failures=it.failures,
            unreachable=it.unreachable,
            refused=it.refused,
            worst_ms=it.worst_ms,
            p99_ms=percentile(sorted(it.latencies), 0.99),
            by=dict(it.by),
            servers=dict(it.servers),
            first_failure=it.first_failure,
            last_refusal=it.last_refusal,
        )

    async def close(self) -> None:
        """Stop probing."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._is_live():
                for name, it in self._world.of(self._fleet).items():
                    worker = self._workers.get(name)
                    if worker is None or worker.done():
                        self._workers[name] = asyncio.create_task(self._probe(it))
                await asyncio.sleep(_SYNC_S)
        finally:
            for worker in self._workers.values():
                worker.cancel()
            await asyncio.gather(*self._workers.values(), return_exceptions=True)
            log.info("probed", fleet=self._fleet, rollout=self._id, sentence=self.seen.told)

    def _is_live(self) -> bool:
        desired = self._world.desired.known(self._fleet)
        return desired is not None and desired.rollout(self._id) is not None

    async def _probe(self, it: Tracked) -> None:
        loop, turn = asyncio.get_running_loop(), 0
        async with Asker(it.server.address) as asker:
            while self._world.of(self._fleet).get(it.server.name) is it:
                due = loop.time() + self._pause_s
                if questions := self._questions(it):
                    await self._ask(asker, it, questions[turn % len(questions)])
                    turn += 1
                await asyncio.sleep(max(due - loop.time(), 0))

    def _questions(self, it: Tracked) -> list[Question]:
        """What the server is to serve now and was seen to."""
        ours = it.assignment is not None and it.assignment.taken_over and it.observed.reachable
        wanted = it.assignment.models if it.assignment and ours else {}
        found: list[Question] = []
        for model in self._pairs:
            if model not in wanted:
                continue
            want, at = wanted[model], it.observed.labels.get(model, {})
            labels = [one for one, v in sorted(want.labels.items()) if at.get(one) is not None]
            loaded = [v for v in sorted(want.versions) if it.observed.available(model, v)]
            found += [Question(model, "label", one) for one in labels]
            found += [Question(model, "version", one) for one in loaded]
            found += [Question(model, "unlabelled", None)] if loaded else []
        return found

    async def _ask(self, asker: Asker, it: Tracked, question: Question) -> None:
        request = await self._request(it, self._pairs[question.model])
        if request is None:
            return
        spec = stubs.ModelSpec(
            name=question.model, signature_name=request.model_spec.signature_name
        )
        if isinstance(question.at, str):
            spec.version_label = question.at
        elif question.at is not None:
            spec.version.value = question.at
        asked = stubs.PredictRequest(model_spec=spec, inputs=request.inputs)
        restarted_at = it.observed.restarted_at
        try:
            heard = await asker.ask(asked, TIMEOUT_S)
        except ServerUnreachable:
            self._tally.unreachable += 1
            return
        if heard.error and question not in self._questions(it):
            return  # it was to go while it was asked for
        if heard.error:
            await asyncio.sleep(self._world.options.observe_interval_s)  # until it is looked at
        if it.observed.restarted_at != restarted_at:
            self._tally.unreachable += 1
            return
        self._count(it, question, heard)

    def _count(self, it: Tracked, question: Question, heard: Heard) -> None:
        tally = self._tally
        if heard.error.startswith(_REFUSED) and _NO_SUCH_LABEL not in heard.error:
            tally.refused += 1
            tally.last_refusal = heard.error
            return
        tally.requests += 1
        tally.by[question.way] += 1
        tally.servers[it.server.name] += 1
        tally.latencies.append(heard.latency_ms)
        tally.worst_ms = max(tally.worst_ms, heard.latency_ms)
        if heard.error:
            tally.failures += 1
            first = {"server": it.server.name, "asked": str(question), "error": heard.error}
            tally.first_failure = tally.first_failure or first

    async def _request(self, it: Tracked, pair: Pair) -> Any:
        """A recorded request, else a sample that the new version's signature describes."""
        if pair.model not in self._requests:
            try:
                self._requests[pair.model] = await self._made(it, pair)
            except ControlPlaneError as error:
                self._tally.last_refusal = error.message
        return self._requests.get(pair.model)

    async def _made(self, it: Tracked, pair: Pair) -> Any:
        try:
            found = await recordings.found(self._world, self._fleet, pair, "", 1)
        except ControlPlaneError:
            found = Found()  # a broken file is for the replay to tell
        if found.requests:
            return stubs.PredictRequest.FromString(found.requests[0].request)
        _, signatures = await it.client.metadata(pair.model, at=pair.new, timeout_s=TIMEOUT_S)
        name = next(iter(sorted(signatures, key=lambda one: (one != "serving_default", one))), None)
        return None if name is None else wire.sample_request(name, signatures[name])
