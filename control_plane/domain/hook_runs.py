"""Runs of hooks: which a rollout calls for, which of them may begin, and how a moment stands.

A run's id follows from what it is for, so that after a crash it is the same run, tried again. It
is written down when its turn has come, and never taken back: then it runs at least once, whatever
becomes of its rollout.
"""

import enum
import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Hook, HookFact, Moment, OnFailure, Scope, Stand
from control_plane.domain.moments import due
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.steps import State, first_of, labels_to_verify, stepped

OUTPUT_BYTES: Final = 64 << 10
_BEGUN, _ENDED = "begun", "ended"
_STEPS: Final = {
    EventKind.ROLLOUT_STARTED: _BEGUN,  # with its first step
    EventKind.ROLLOUT_STEP_STARTED: _BEGUN,
    EventKind.ROLLOUT_STEP_ENDED: _ENDED,
}
_BESIDE: Final = {
    (_BEGUN, StepName.PROMOTE): (Moment.BEFORE_LOAD, Moment.BEFORE_PROMOTE),
    (_ENDED, StepName.PROMOTE): (Moment.AFTER_LOAD, Moment.AFTER_PROMOTE),
    (_BEGUN, StepName.RETIRE): (Moment.BEFORE_UNLOAD,),
    (_ENDED, StepName.RETIRE): (Moment.AFTER_UNLOAD,),
}
Subjects = tuple[tuple[str, int | None, str], ...]  # model, version, label


class RunState(enum.StrEnum):
    """How far a run is."""

    PENDING = "pending"  # written down, not yet tried
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether it is not tried again."""
        return self in (RunState.SUCCEEDED, RunState.FAILED)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a hook: for a version, a server, a rollout or an event."""

    id: str
    hook: str
    fleet: str
    moment: Moment
    rollout: str  # "" for events
    model: str
    version: int | None
    server: str
    order: int
    body: Mapping[str, Any]  # what the hook is told
    created_at: datetime
    state: RunState = RunState.PENDING
    attempts: int = 0
    status: int | None = None  # HTTP status or exit code of the last attempt
    duration_s: float = 0.0  # of the last attempt
    sentence: str = ""
    output: str = ""  # tail, `OUTPUT_BYTES` at most
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that a rollout calls for at a moment."""

    hook: Hook
    model: str
    version: int | None
    label: str = ""
    server: str = ""
    again: int = 0  # the event of a load after the first one; 0: the first

    def id_for(self, rollout: str) -> str:
        """The id of its run."""
        load = (self.again,) if self.again else ()
        return run_id(rollout, self.hook, self.server, self.model, self.version, *load)


@dataclass(frozen=True, slots=True)
class Situation:
    """A rollout, what it changes, and its servers that count now."""

    rollout: Rollout
    before: State
    after: State
    servers: frozenset[str]


def run_id(rollout: str, hook: Hook, *subject: object) -> str:
    """Return the id of a hook's run for its subject: a server, model and version, or an event."""
    key = json.dumps([rollout, hook.fleet, hook.name, hook.moment, *subject])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def planned(hooks: Iterable[Hook], at: Situation, moments: Iterable[Moment]) -> tuple[Planned, ...]:
    """Return every run that these moments of a rollout call for, by moment and order."""
    wanted = sorted(hooks, key=lambda one: (one.order, one.name))
    return tuple(
        Planned(hook, model, version, label, server)
        for moment in moments
        for hook in wanted
        if hook.moment is moment
        for model, version, label in _subjects(moment, at)
        if hook.model in ("", model)
        for server in (sorted(at.servers) if hook.scope is Scope.SERVER else ("",))
    )


def moments_between(rollout: Rollout, now: datetime) -> tuple[Moment, ...]:
    """Return the moments that a rollout stands at, or will when its step has ended."""
    step = rollout.step
    begun = step is not None and step.begun
    return due(stepped(rollout, now) if begun else rollout)


def moments_beside(rollout: Rollout, event: Event) -> tuple[Moment, ...]:
    """Return the moments that an event of a rollout brings whose hooks hold nothing.

    A rollback has all of its moments so; a version that it loads, it loads when labels move.
    """
    if event.kind is EventKind.ROLLOUT_ENDED:
        return () if event.data.get("phase") == Phase.SUCCEEDED else (Moment.ON_FAILURE,)
    if rollout.kind is not Kind.ROLLBACK:
        return ()
    return _BESIDE.get((_STEPS.get(event.kind, ""), event.data.get("step", "")), ())


def planned_late(
    hooks: Iterable[Hook], at: Situation, event: Event, known: Container[str]
) -> tuple[Planned, ...]:
    """Return the runs that a load calls for which came later than the rollout's others.

    A server that loads a version anew while the rollout is live, restarted, has lost what the first
    run did; after the end each has one run at most.
    """
    here = replace(at, servers=frozenset({event.server}))
    of_event = (event.server, event.model, event.data.get("version"))
    found = []
    for one in planned(hooks, here, (Moment.AFTER_LOAD,)):
        first = one.id_for(at.rollout.id) not in known
        if (one.server, one.model, one.version) == of_event and (first or at.rollout.phase.live):
            found.append(one if first else replace(one, again=event.seq))
    return tuple(found)


def startable(plan: Sequence[Planned], runs: Mapping[str, Run], rollout: str) -> list[Planned]:
    """Return the runs that are not written down yet and whose turn has come.

    Moments come one after the other, and within one the lower orders go before the higher ones.
    """
    moments = list(dict.fromkeys(one.hook.moment for one in plan))
    for moment in moments:
        mine = [one for one in plan if one.hook.moment is moment]
        if _stand(mine, runs, rollout).stand is not Stand.DONE:
            return [
                one
                for one in mine
                if one.id_for(rollout) not in runs
                and all(
                    _lets_go(other, runs.get(other.id_for(rollout))) for other in _ahead(mine, one)
                )
            ]
    return []


def facts(
    plan: Sequence[Planned], runs: Mapping[str, Run], rollout: str
) -> Mapping[Moment, HookFact]:
    """Return how each moment of a plan stands."""
    moments = dict.fromkeys(one.hook.moment for one in plan)
    return {
        moment: _stand([one for one in plan if one.hook.moment is moment], runs, rollout)
        for moment in moments
    }


def planned_run(one: Planned, rollout: Rollout, now: datetime) -> Run:
    """Write down a run."""
    id_ = one.id_for(rollout.id)
    body = {
        "id": id_,
        "moment": str(one.hook.moment),
        "fleet": rollout.fleet,
        "model": one.model,
        "version": one.version,
        "server": one.server,
        "rollout": rollout.id,
        "label": one.label,
        "actor": rollout.actor,
        "reason": rollout.reason,
    }
    if one.hook.moment is Moment.ON_FAILURE:
        body |= {"phase": str(rollout.phase), "sentence": rollout.sentence, "error": rollout.error}
    return Run(
        id=id_,
        hook=one.hook.name,
        fleet=rollout.fleet,
        moment=one.hook.moment,
        rollout=rollout.id,
        model=one.model,
        version=one.version,
        server=one.server,
        order=one.hook.order,
        body=body,
        created_at=now,
    )


def event_run(hook: Hook, event: Event, now: datetime) -> Run:
    """Write down the run of an `on_event` hook."""
    id_ = run_id("", hook, event.seq)
    told = {
        "seq": event.seq,
        "kind": str(event.kind),
        "at": event.at.isoformat(),
        "revision": event.revision,
        "data": dict(event.data),
    }
    version = event.data.get("version")
    body = {
        "id": id_,
        "moment": str(hook.moment),
        "fleet": hook.fleet,
        "model": event.model,
        "version": version if isinstance(version, int) else None,
        "server": event.server,
        "rollout": event.rollout,
        "label": event.data.get("label", ""),
        "actor": event.actor,
        "reason": event.reason,
        "event": told,
    }
    return Run(
        id=id_,
        hook=hook.name,
        fleet=hook.fleet,
        moment=hook.moment,
        rollout="",
        model=event.model,
        version=body["version"],
        server=event.server,
        order=hook.order,
        body=body,
        created_at=now,
    )


def waits_for(one: Run, other: Run) -> bool:
    """Whether a written run must not begin before another one, still open, is over."""
    same = (one.rollout, one.moment) == (other.rollout, other.moment) and one.rollout != ""
    return same and other.order < one.order and _meet(one.server, other.server)


def _subjects(moment: Moment, at: Situation) -> Subjects:
    """What a moment is about: what is loaded, what labels move to, what is dropped."""
    match moment:
        case Moment.BEFORE_LOAD | Moment.AFTER_LOAD:
            return _loaded(at)
        case Moment.BEFORE_PROMOTE | Moment.AFTER_PROMOTE:
            return _labelled(at)
        case Moment.BEFORE_UNLOAD if first := _first(at.rollout):
            return tuple((model, v, "") for model, some in first.items() for v in sorted(some))
        case Moment.BEFORE_UNLOAD | Moment.AFTER_UNLOAD:
            return _difference(at.before, at.after, "")
        case _:
            unknown: Subjects = tuple((model, None, "") for model in at.rollout.models)
            return _loaded(at) or _labelled(at) or unknown


def _first(rollout: Rollout) -> Mapping[str, frozenset[int]]:
    """What goes before the step that is to begin loads anything."""
    step = rollout.step
    return first_of(step) if step is not None and not step.begun else {}


def _loaded(at: Situation) -> Subjects:
    return _difference(at.after, at.before, at.rollout.label)


def _labelled(at: Situation) -> Subjects:
    found: dict[tuple[str, int | None], str] = {}
    for model, label, version in labels_to_verify(at.rollout, at.before, at.after):
        found.setdefault((model, version), label)
    return tuple((model, version, label) for (model, version), label in found.items())


def _difference(of: State, without: State, label: str) -> Subjects:
    return tuple(
        (model, version, label)
        for model, one in sorted(of.items())
        if one is not None
        for version in sorted(one.versions - _versions(without, model))
    )


def _versions(state: State, model: str) -> frozenset[int]:
    found = state.get(model)
    return found.versions if found else frozenset()


def _ahead(mine: Sequence[Planned], one: Planned) -> Iterator[Planned]:
    for other in mine:
        if other.hook.order < one.hook.order and _meet(one.server, other.server):
            yield other


def _meet(server: str, other: str) -> bool:
    return "" in (server, other) or server == other


def _lets_go(one: Planned, run: Run | None) -> bool:
    return run is not None and run.state.over and not _aborts(one, run)


def _aborts(one: Planned, run: Run | None) -> bool:
    failed = run is not None and run.state is RunState.FAILED
    return failed and one.hook.on_failure is OnFailure.ABORT


def _stand(plan: Sequence[Planned], runs: Mapping[str, Run], rollout: str) -> HookFact:
    found = [(one, runs.get(one.id_for(rollout))) for one in plan]
    for one, run in found:
        if run is not None and _aborts(one, run):
            return HookFact(Stand.FAILED, f"{_named(one)} failed: {run.sentence}")
    waiting = [one for one, run in found if run is None or not run.state.over]
    if not waiting:
        return HookFact(Stand.DONE)
    rest = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return HookFact(Stand.PENDING, f"{_named(waiting[0])}{rest}")


def _named(one: Planned) -> str:
    return f"{one.hook.name} on {one.server}" if one.server else one.hook.name
