"""Decides how a rollout goes on: `advance(rollout, facts, now)`.

A step ends when every server that counts has reached it; only then the next one starts. Servers
that do not answer are not failures: up to `max_unavailable` become laggards, the rest are waited
for. A rollback goes on without whatever stands in its way, and is turned back only when the
version that it goes to cannot be loaded anywhere.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from control_plane.domain.events import Event, EventKind
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.steps import DOING, StepTarget, desired_models, started, step_key

__all__ = [
    "Facts",
    "Reach",
    "ServerFact",
    "StepTarget",
    "Transition",
    "advance",
    "alone",
    "desired_models",
    "ended",
    "step_key",
    "superseded",
]

LOOP_ACTOR: Final = "control-plane"  # who writes what no person asked for


class Reach(enum.StrEnum):
    """How far a server is with the current step."""

    REACHED = "reached"  # observed there, all models of the rollout
    MOVING = "moving"  # on its way, or not looked at yet
    FAILED = "failed"  # a wanted version failed to load, or cannot answer, and is not tried again
    BLOCKED = "blocked"  # reachable, but something that a person must remove is in the way
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class ServerFact:
    """One server and the rollout's models, for the current step only."""

    reach: Reach
    sentence: str  # the same words while the situation is the same: each change is written down
    error: str = ""  # TensorFlow Serving's own text


@dataclass(frozen=True, slots=True)
class Facts:
    """What `advance` goes by; a server without a fact has left the fleet."""

    servers: Mapping[str, ServerFact]  # those of the fleet that were taken over
    max_unavailable: int = 0
    key: str = ""  # the `step_key` that the facts were gathered for; "" is not checked
    old_version_gone: bool = False  # a server can no longer serve what the labels pointed at before


@dataclass(frozen=True, slots=True)
class Transition:
    """What `advance` decided; `rollout` equals the given one when nothing changes."""

    rollout: Rollout
    revert: bool = False  # append a revision equal to `from_revision` for these models
    verify: bool = False  # record `labels_to_verify`
    events: tuple[Event, ...] = ()


def advance(rollout: Rollout, facts: Facts, now: datetime) -> Transition:
    """Take a rollout one step further at most; what is over or paused stays as it is."""
    if not rollout.phase.live or rollout.phase is Phase.PAUSED:
        return Transition(rollout)
    if facts.key not in ("", step_key(rollout)):
        return Transition(rollout)
    step = rollout.step
    if step is None:
        return _succeed(rollout, facts, now)
    if step.started_at is None:
        begun = started(rollout, facts.servers, now)
        return Transition(begun, events=(_event(begun, EventKind.ROLLOUT_STEP_STARTED, now),))
    count = _Count.of(rollout, step, facts)
    seen = _witnessed(rollout, step, count)
    if rollout.kind is Kind.ROLLBACK:
        return _advance_rollback(seen, count, facts, now)
    if step.name is StepName.RETIRE:
        return _advance_retire(seen, count, facts, now)
    return _advance_step(seen, count, facts, now)


@dataclass(frozen=True, slots=True)
class _Count:
    """The servers that count for a step, by reach."""

    facts: Mapping[str, ServerFact]
    waited_for: tuple[str, ...]  # not reached, in order of name

    @classmethod
    def of(cls, rollout: Rollout, step: Step, facts: Facts) -> "_Count":
        names = [n for n in step.servers if n in facts.servers and n not in rollout.laggards]
        counted = {name: facts.servers[name] for name in names}
        return cls(counted, tuple(n for n in names if counted[n].reach is not Reach.REACHED))

    def at(self, *reaches: Reach) -> tuple[str, ...]:
        return tuple(name for name, fact in self.facts.items() if fact.reach in reaches)

    @property
    def witnessed(self) -> bool:
        """Whether at least one server was seen there, or none is left that could be."""
        return not self.facts or bool(self.at(Reach.REACHED))

    def sentence(self, doing: str) -> str:
        if not self.facts:
            return f"{doing}: no server of this fleet is taken over"
        reached = len(self.at(Reach.REACHED))
        told = "; ".join(f"{name}: {self.facts[name].sentence}" for name in self.waited_for[:3])
        rest = f"; and {len(self.waited_for) - 3} more" if len(self.waited_for) > 3 else ""
        where = f"{doing}: {reached} of {len(self.facts)} servers"
        return f"{where}; {told}{rest}" if told else where


def _advance_step(rollout: Rollout, count: _Count, facts: Facts, now: datetime) -> Transition:
    """Load and promote: all servers that count, or none goes on."""
    if failed := count.at(Reach.FAILED):
        return _turn_back(rollout, count, failed[0], facts, now)
    away = count.at(Reach.UNREACHABLE)
    spare = facts.max_unavailable - len(rollout.laggards)
    if count.witnessed and len(away) == len(count.waited_for) <= max(spare, 0):
        return _next_step(rollout, away, facts, now)
    if now >= rollout.deadline_at:
        return _turn_back(rollout, count, "", facts, now)
    return _wait(rollout, count)


def _advance_retire(rollout: Rollout, count: _Count, facts: Facts, now: datetime) -> Transition:
    """Labels are where they belong; only the dropping is left, and late droppers are laggards."""
    if failed := count.at(Reach.FAILED):
        return _halt(rollout, f"{failed[0]}: {_words(count.facts[failed[0]])}")
    away = count.at(Reach.UNREACHABLE)
    spare = facts.max_unavailable - len(rollout.laggards)
    enough = count.witnessed and len(away) == len(count.waited_for) <= max(spare, 0)
    if enough or now >= rollout.deadline_at:
        return _next_step(rollout, count.waited_for, facts, now)
    return _wait(rollout, count)


def _advance_rollback(rollout: Rollout, count: _Count, facts: Facts, now: datetime) -> Transition:
    """Nothing stops a rollback: whoever can flip flips, the others are laggards."""
    late = now >= rollout.deadline_at
    flipping = rollout.step is not None and rollout.step.name is StepName.PROMOTE
    failed = count.at(Reach.FAILED)
    hopeless = len(failed) == len(count.facts) or (late and not count.at(Reach.REACHED))
    if flipping and failed and hopeless:
        return _turn_back(rollout, count, failed[0], facts, now)
    if late or (count.witnessed and not count.at(Reach.MOVING)):
        return _next_step(rollout, count.waited_for, facts, now)
    return _wait(rollout, count)


def _next_step(
    rollout: Rollout, laggards: tuple[str, ...], facts: Facts, now: datetime
) -> Transition:
    ended = _event(rollout, EventKind.ROLLOUT_STEP_ENDED, now)
    steps = tuple(
        replace(one, phase=Phase.SUCCEEDED, ended_at=now) if one is rollout.step else one
        for one in rollout.steps
    )
    behind = tuple(sorted({*rollout.laggards, *laggards}))
    was = rollout.step.servers if rollout.step else ()
    done = replace(rollout, steps=steps, laggards=behind)
    if done.step is None:
        over = _succeed(done, facts, now)
        return replace(over, events=(ended, *over.events))
    begun = started(done, [n for n in was if n in facts.servers and n not in behind], now)
    return Transition(begun, events=(ended, _event(begun, EventKind.ROLLOUT_STEP_STARTED, now)))


def _succeed(rollout: Rollout, facts: Facts, now: datetime) -> Transition:
    behind = tuple(
        name
        for name in rollout.laggards
        if name in facts.servers and facts.servers[name].reach is not Reach.REACHED
    )
    sentence = "done on every server"
    if not rollout.steps or not any(one.servers for one in rollout.steps):
        sentence = "done: no server of this fleet is taken over"
    elif behind:
        sentence = "done, but not yet on " + ", ".join(behind)
    return _end(replace(rollout, laggards=behind), Phase.SUCCEEDED, sentence, now)


def _turn_back(
    rollout: Rollout, count: _Count, failed: str, facts: Facts, now: datetime
) -> Transition:
    if facts.old_version_gone and rollout.moved:
        return _halt(rollout, count.sentence("the old version is gone"))
    fact = count.facts[failed] if failed else None
    why = f"{failed}: {_words(fact)}" if fact else count.sentence("the deadline has passed")
    error = fact.error if fact else next((f.error for f in count.facts.values() if f.error), "")
    phase = Phase.ROLLED_BACK if _moved(rollout) else Phase.FAILED
    return _end(replace(rollout, error=error), phase, why, now)


def _moved(rollout: Rollout) -> bool:
    """Whether a label may stand elsewhere; a rollback moves it only where the target is loaded."""
    if rollout.kind is not Kind.ROLLBACK:
        return rollout.moved
    return any(seen.get("reach") == Reach.REACHED for one in rollout.steps for seen in _seen(one))


def _seen(step: Step) -> list[Mapping[str, str]]:
    return list(step.evidence.values()) if step.name is StepName.PROMOTE else []


def _words(fact: ServerFact) -> str:
    return f"{fact.sentence}: {fact.error}" if fact.error else fact.sentence


def _halt(rollout: Rollout, why: str) -> Transition:
    text = (
        f"halted, as the new version may be the only healthy copy; roll back, abort or retry: {why}"
    )
    return Transition(replace(rollout, phase=Phase.WAITING, sentence=text))


def _wait(rollout: Rollout, count: _Count) -> Transition:
    stuck = count.at(Reach.UNREACHABLE, Reach.BLOCKED)
    phase = Phase.WAITING if stuck and not count.at(Reach.MOVING) else Phase.PROGRESSING
    step = rollout.step
    doing = DOING[step.name] if step else ""
    return Transition(replace(rollout, phase=phase, sentence=count.sentence(doing)))


def _witnessed(rollout: Rollout, step: Step, count: _Count) -> Rollout:
    """Write down what changed of each server's reach; words alone are no change."""
    news = {
        name: {"reach": str(fact.reach), "reached": fact.reach is Reach.REACHED,
               "sentence": fact.sentence, "error": fact.error}
        for name, fact in count.facts.items()
        if step.evidence.get(name, {}).get("reach") != fact.reach
    }  # fmt: skip
    if not news:
        return rollout
    seen = replace(step, evidence={**step.evidence, **news})
    return replace(rollout, steps=tuple(seen if one is step else one for one in rollout.steps))


def ended(rollout: Rollout, phase: Phase, sentence: str, now: datetime) -> Transition:
    """End a live rollout; anything but success takes its models back to `from_revision`."""
    return _end(rollout, phase, sentence, now)


def alone(rollout: Rollout, now: datetime) -> Transition:
    """Take a rollout to its end where there is no server to wait for."""
    there = Transition(rollout)
    while there.rollout.phase.live:
        following = advance(there.rollout, Facts({}), now)
        there = replace(following, events=(*there.events, *following.events))
    return there


def superseded(rollout: Rollout, by: str, now: datetime) -> Transition:
    """End a live rollout for another one, which inherits its `from_revision`."""
    over = _end(replace(rollout, superseded_by=by), Phase.ABORTED, f"superseded by {by}", now)
    event = replace(over.events[0], kind=EventKind.ROLLOUT_SUPERSEDED, data={"by": by})
    return Transition(over.rollout, events=(event, *over.events))


def _end(rollout: Rollout, phase: Phase, sentence: str, now: datetime) -> Transition:
    good = phase is Phase.SUCCEEDED
    steps = rollout.steps
    if not good and (step := rollout.step) is not None and step.started_at is not None:
        over = replace(step, phase=phase, ended_at=now)
        steps = tuple(over if one is step else one for one in steps)
    done = replace(rollout, phase=phase, sentence=sentence, steps=steps, ended_at=now)
    event = _event(done, EventKind.ROLLOUT_ENDED, now)
    return Transition(done, revert=not good, verify=good and _proven(done), events=(event,))


def _proven(rollout: Rollout) -> bool:
    """Whether some server was seen with the labels moved, or there was none to see."""
    moves = [one for one in rollout.steps if one.name is StepName.PROMOTE]
    return all(
        not one.servers or any(seen.get("reached") for seen in one.evidence.values())
        for one in moves
    )


def _event(rollout: Rollout, kind: EventKind, now: datetime) -> Event:
    step = rollout.step
    data: dict[str, object] = {"models": list(rollout.models), "phase": str(rollout.phase)}
    if kind is EventKind.ROLLOUT_ENDED:
        data |= {"sentence": rollout.sentence, "error": rollout.error}
        data |= {"laggards": list(rollout.laggards)}
    elif step is not None:
        data |= {"step": str(step.name), "servers": list(step.servers)}
    return Event(
        kind=kind,
        at=now,
        actor=LOOP_ACTOR,
        fleet=rollout.fleet,
        model=rollout.models[0] if len(rollout.models) == 1 else "",
        rollout=rollout.id,
        revision=rollout.to_revision,
        reason=rollout.reason,
        data=data,
    )
