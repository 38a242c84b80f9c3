"""Brings about the verdicts of gates, beside the loop: asking for one never waits.

A gate is judged in a task from the moment its step is under way, and again while it holds. Nothing
is kept on disk: after a restart it is simply judged anew.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from control_plane.domain import calendar, probing
from control_plane.domain.errors import ControlPlaneError, FieldInvalid, Transient
from control_plane.domain.gate import (
    Freeze,
    Gate,
    Http,
    Metrics,
    Probe,
    Replay,
    Ruling,
    Schedule,
    Verdict,
    parse_gate,
)
from control_plane.domain.rollout import Step, StepName
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.judges import Judge, Measuring, Replaying, asking
from control_plane.reconcile.prober import Prober
from control_plane.reconcile.world import Key, World

log = structlog.get_logger()


@dataclass(slots=True)
class _Judged:
    """A gate under way."""

    live: Live
    task: asyncio.Task[None] | None = None
    verdict: Verdict | None = None


class Gates:
    """The gates of all live rollouts."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._judged: dict[str, _Judged] = {}  # by rollout
        self._probers: dict[str, Prober] = {}

    def verdict(self, live: Live) -> Verdict | None:
        """Return what the gate under way has ruled; None while it has not, or if there is none.

        To be called at every pass of a rollout, whatever its step: a prober that a later gate asks
        for begins with the rollout.
        """
        self.forget(live.rollout.fleet)
        self._start_probing(live)
        id_, step = live.rollout.id, live.rollout.step
        known = self._judged.get(id_)
        if known is not None and known.live.key != live.key:
            self._drop(id_)
            known = None
        if step is None or step.name is not StepName.GATE or not live.begun:
            return None
        if known is None:
            known = self._judged[id_] = _Judged(live)
            known.task = asyncio.create_task(self._judge(known, step))
        known.live = live
        self._check(id_, known)
        return known.verdict

    def forget(self, fleet: str) -> None:
        """Let go of rollouts that have ended, or are not ours any more."""
        desired = self._world.desired.known(fleet)
        live = {one.rollout.id for one in desired.live} if desired else set[str]()
        for id_ in self._of(fleet, live):
            self._drop(id_)
        for id_, prober in list(self._probers.items()):
            if prober.task.done():
                del self._probers[id_]

    async def close(self) -> None:
        """Stop judging and probing."""
        tasks = [one.task for one in self._judged.values() if one.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._probers.values()))

    async def _judge(self, judged: _Judged, step: Step) -> None:
        """Ask until the gate passes or fails, or its step is left."""
        judge: Judge | None = None
        while True:
            try:
                judge = judge or self._judge_of(parse_gate("gate", step.spec), judged.live)
                verdict = await judge(judged.live)
            except Transient as error:
                verdict = Verdict(Ruling.HOLD, error.message)
            except ControlPlaneError as error:
                verdict = Verdict(Ruling.FAIL, error.message, _evidence(error))
            self._rule(judged, verdict)
            if verdict.ruling is not Ruling.HOLD:
                return
            await asyncio.sleep(self._world.options.observe_interval_s)

    def _rule(self, judged: _Judged, verdict: Verdict) -> None:
        last, judged.verdict = judged.verdict, verdict
        if last and (last.ruling, last.sentence) == (verdict.ruling, verdict.sentence):
            return
        rollout = judged.live.rollout
        told = {"fleet": rollout.fleet, "rollout": rollout.id}
        log.info("gate", **told, ruling=str(verdict.ruling), sentence=verdict.sentence)
        self._world.nudge(Key("rollout", rollout.fleet, rollout.id))

    def _judge_of(self, gate: Gate, live: Live) -> Judge:
        match gate:
            case Replay():
                return Replaying(self._world, gate)
            case Metrics():
                return Measuring(self._world, gate)
            case Http():
                return asking(gate)
            case Probe():
                return self._probing(gate, live)
            case Freeze() | Schedule():
                return self._by_time(gate)

    def _probing(self, gate: Probe, live: Live) -> Judge:
        prober = self._prober(live, gate)

        async def judge(_: Live) -> Verdict:
            return probing.rule(gate, prober.seen)

        return judge

    def _by_time(self, gate: Freeze | Schedule) -> Judge:
        async def judge(live: Live) -> Verdict:
            now = self._world.clock()
            if isinstance(gate, Schedule):
                return calendar.scheduled(gate, now)
            return calendar.frozen(gate, live.rollout.fleet, live.rollout.models, now)

        return judge

    def _start_probing(self, live: Live) -> None:
        """Begin to probe for a gate that is yet to come, or is under way."""
        if live.rollout.id in self._probers:
            return
        gates = [one for one in live.rollout.steps if one.name is StepName.GATE]
        spec = next((one.spec for one in gates if one.spec.get("kind") == "probe"), None)
        with suppress(FieldInvalid):  # it fails when its turn comes
            if spec is not None and isinstance(gate := parse_gate("gate", spec), Probe):
                self._prober(live, gate)

    def _prober(self, live: Live, gate: Probe) -> Prober:
        known = self._probers.get(live.rollout.id)
        if known is None:
            known = self._probers[live.rollout.id] = Prober(self._world, live, gate.per_s)
        return known

    def _of(self, fleet: str, live: Iterable[str]) -> list[str]:
        kept = frozenset(live)
        mine = ((id_, one.live.rollout.fleet) for id_, one in self._judged.items())
        return [id_ for id_, where in mine if where == fleet and id_ not in kept]

    def _drop(self, id_: str) -> None:
        gone = self._judged.pop(id_)
        if gone.task is not None:
            gone.task.cancel()

    def _check(self, id_: str, judged: _Judged) -> None:
        """Have what went wrong in a task told by the pass that asked for it."""
        task = judged.task
        if task is not None and task.done() and not task.cancelled() and task.exception():
            del self._judged[id_]
            task.result()


def _evidence(error: ControlPlaneError) -> dict[str, object]:
    """What an error says beside its words, as the number of a record."""
    record = error.details.get("record")
    return {} if record is None else {"record": record}
