"""What each kind of gate does to come to its verdict; effects only, the ruling is the domain's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from control_plane.domain import replay, series
from control_plane.domain.errors import NotFound, ServerUnreachable
from control_plane.domain.gate import Http, Metrics, Replay, Ruling, Verdict
from control_plane.domain.replay import Summary
from control_plane.domain.rollout import StepName
from control_plane.domain.series import Increase, Reading, Watched
from control_plane.reconcile import recordings
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.recordings import ANSWER_S, Found
from control_plane.reconcile.world import World
from control_plane.serving.replay import Asker, Pair, replayed
from control_plane.serving.scrape import asked_verdict, scrape

Judge: TypeAlias = Callable[[Live], Awaitable[Verdict]]
_AT_ONCE = 8  # servers scraped at a time
_NOTHING_MOVES = "no label moves from one version to another: there is nothing to compare"


class Replaying:
    """Replays recorded requests on a server that has both versions."""

    def __init__(self, world: World, gate: Replay) -> None:
        self._world = world
        self._gate = gate
        self._found: dict[str, Found] = {}  # by model: they do not change

    async def __call__(self, live: Live) -> Verdict:
        """Rule on every model whose label moves; one that fails fails all."""
        pairs = recordings.pairs(live)
        if not pairs:
            return Verdict(Ruling.PASS, _NOTHING_MOVES)
        if not self._gate.required and not any(one.servers for one in live.rollout.steps):
            return self._nothing("no server is taken over")
        verdicts = {one.model: await self._model(live.rollout.fleet, one) for one in pairs}
        return together(verdicts)

    async def _model(self, fleet: str, pair: Pair) -> Verdict:
        try:
            found = await self._requests(fleet, pair)
        except NotFound as error:
            found = Found(why=error.message)
        if not found.requests:
            return self._nothing(found.why)
        it = recordings.holder(self._world, fleet, pair)
        if it is None:
            return Verdict(Ruling.HOLD, recordings.lacking(pair))
        started_at = it.observed.restarted_at
        async with Asker(it.server.address) as asker:
            summary = await replayed(asker, pair, found.requests, ANSWER_S)
        if _unloaded(summary) or it.observed.restarted_at != started_at:
            raise ServerUnreachable(f"{it.server.name} lost a version during the replay")
        tolerance = self._gate.models.get(pair.model, self._gate.tolerance)
        verdict = replay.rule(summary, tolerance)
        where = {"server": it.server.name, "current": pair.current, "new": pair.new}
        where["requests"] = dict(found.source)
        return Verdict(verdict.ruling, verdict.sentence, {**where, **verdict.evidence})

    async def _requests(self, fleet: str, pair: Pair) -> Found:
        most, name = self._gate.records, self._gate.request_set
        if pair.model not in self._found:
            found = await recordings.found(self._world, fleet, pair, name, most)
            self._found[pair.model] = found
        return self._found[pair.model]

    def _nothing(self, why: str) -> Verdict:
        if self._gate.required:
            return Verdict(Ruling.FAIL, f"nothing to replay: {why}")
        return Verdict(Ruling.PASS, f"nothing could be compared: {why}")


def _unloaded(summary: Summary) -> bool:
    """Whether a version was not there: it was seen loaded, so it is the server that changed."""
    errors = {**summary.refused, **summary.mended, **summary.broken}
    return any(text.startswith("NOT_FOUND") for text in errors.values())


def together(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return one verdict for several models: the worst ruling, and all the evidence."""
    order = (Ruling.FAIL, Ruling.HOLD, Ruling.PASS)
    ruling = min((one.ruling for one in verdicts.values()), key=order.index)
    evidence = {"models": {model: dict(one.evidence) for model, one in verdicts.items()}}
    told = [f"{model}: {one.sentence}" for model, one in verdicts.items() if one.ruling is ruling]
    return Verdict(ruling, "; ".join(told), evidence)


class Measuring:
    """Watches series from its first reading on."""

    def __init__(self, world: World, gate: Metrics) -> None:
        self._world = world
        self._gate = gate
        self._first: dict[str, Reading] = {}
        self._began_at: float | None = None

    async def __call__(self, live: Live) -> Verdict:
        """Read every place once more."""
        places = self._places(live)
        if not places:
            return Verdict(Ruling.HOLD, "no server that answers has a REST address")
        last = await self._read(places, live.rollout.models)
        grown = {
            name: series.increase(self._first.setdefault(name, one), one)
            for name, one in last.items()
        }
        fresh = _with_new_version(live)
        canary = [one for name, one in grown.items() if not fresh or name in fresh]
        others = [one for name, one in grown.items() if fresh and name not in fresh]
        if not canary:
            return Verdict(Ruling.HOLD, "no server with the new version answers")
        waited_s = self._waited_s()
        seen = Watched(_sum(canary), _sum(others) if others else None, waited_s, grown)
        return series.rule(self._gate, seen)

    def _waited_s(self) -> float:
        now = self._world.now()
        self._began_at = now if self._began_at is None else self._began_at
        return max(now - self._began_at, 0.0)

    def _places(self, live: Live) -> dict[str, str]:
        if self._gate.source != "servers":
            return {self._gate.source: self._gate.source}
        return {
            name: f"http://{it.server.rest_address}{self._gate.path}"
            for name, it in sorted(self._world.of(live.rollout.fleet).items())
            if it.server.rest_address and it.observed.reachable
        }

    async def _read(
        self, places: Mapping[str, str], models: tuple[str, ...]
    ) -> Mapping[str, Reading]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def read(url: str) -> Reading:
            async with turns:
                found = await scrape(url, self._gate.timeout_s)
            return series.reading(self._gate, found, models)

        found = await asyncio.gather(*(read(url) for url in places.values()))
        return dict(zip(places, found, strict=True))


def _sum(increases: list[Increase]) -> Increase:
    total, *rest = increases
    for one in rest:
        total = total + one
    return total


def _with_new_version(live: Live) -> frozenset[str]:
    """The servers on which a label stands on the new version already; empty if on none."""
    movers = (StepName.CANARY, StepName.PROMOTE)
    begun = [one for one in live.rollout.steps if one.begun and one.name in movers]
    return frozenset(name for one in begun for name in one.servers)


def asking(gate: Http) -> Judge:
    """Return what asks a URL."""

    async def judge(live: Live) -> Verdict:
        return await asked_verdict(gate.url, gate.timeout_s, _told(live))

    return judge


def _told(live: Live) -> dict[str, Any]:
    rollout = live.rollout
    moves = {one.model: {"current": one.current, "new": one.new} for one in recordings.pairs(live)}
    return {
        "rollout": rollout.id,
        "fleet": rollout.fleet,
        "models": {model: moves.get(model) for model in rollout.models},
        "label": rollout.label,
        "revision": rollout.to_revision,
        "actor": rollout.actor,
        "reason": rollout.reason,
    }
