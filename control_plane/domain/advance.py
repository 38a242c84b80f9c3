"""Decides how a rollout goes on: `advance(rollout, facts, now)`.

A step ends when every server that counts has reached it, and whatever else it waits for is there;
only then the next one starts. Servers that do not answer are not failures: up to `max_unavailable`
become laggards, the rest are waited for. A rollback goes on without whatever stands in its way, and
is turned back only when the version that it goes to cannot be loaded anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from control_plane.domain.awaited import awaited, noted
from control_plane.domain.events import Event, EventKind
from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.hook import Stand
from control_plane.domain.moments import held
from control_plane.domain.reach import Count, Facts, Reach, ServerFact, given_up
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.steps import (
    DOING,
    STILL,
    StepTarget,
    covered,
    desired_models,
    started,
    step_key,
    stepped,
)

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
    if step is None or not step.begun:
        return _onward(rollout, facts, now)
    facts = given_up(rollout, step, facts, now)
    count = Count.of(rollout, step, facts)
    seen = _witnessed(rollout, step, count, now)
    if rollout.kind is Kind.ROLLBACK:
        return _advance_rollback(seen, count, facts, now)
    if step.name is StepName.RETIRE:
        return _advance_retire(seen, count, facts, now)
    verdict = awaited(rollout, step, facts, now)
    return _advance_step(noted(seen, step, verdict), count, verdict, facts, now)


def _advance_step(
    rollout: Rollout, count: Count, verdict: Verdict, facts: Facts, now: datetime
) -> Transition:
    """All but retire: all servers that count, or none goes on."""
    if failed := count.at(Reach.FAILED):
        return _turn_back(rollout, _failure(count, failed[0]), facts, now)
    if verdict.ruling is Ruling.FAIL:
        return _turn_back(rollout, (verdict.sentence, ""), facts, now)
    spare = facts.max_unavailable - len(rollout.laggards)
    if verdict.ruling is Ruling.PASS and count.enough(spare):
        return _next_step(rollout, count.waited_for, facts, now)
    if now >= rollout.deadline_at:
        return _turn_back(rollout, _too_late(count, verdict), facts, now)
    return _wait(rollout, count, verdict)


def _advance_retire(rollout: Rollout, count: Count, facts: Facts, now: datetime) -> Transition:
    """Labels are where they belong; only the dropping is left, and late droppers are laggards."""
    if failed := count.at(Reach.FAILED):
        return _halt(rollout, f"{failed[0]}: {count.facts[failed[0]].words}")
    spare = facts.max_unavailable - len(rollout.laggards)
    if count.enough(spare) or now >= rollout.deadline_at:
        return _next_step(rollout, count.waited_for, facts, now)
    return _wait(rollout, count)


def _advance_rollback(rollout: Rollout, count: Count, facts: Facts, now: datetime) -> Transition:
    """Nothing stops a rollback: whoever can flip flips, the others are laggards."""
    late = now >= rollout.deadline_at
    flipping = rollout.step is not None and rollout.step.name is StepName.PROMOTE
    failed = count.at(Reach.FAILED)
    hopeless = len(failed) == len(count.facts) or (late and not count.at(Reach.REACHED))
    if flipping and failed and hopeless:
        return _turn_back(rollout, _failure(count, failed[0]), facts, now)
    if late or (count.witnessed and not count.at(Reach.MOVING)):
        return _next_step(rollout, count.waited_for, facts, now)
    return _wait(rollout, count)


def _next_step(
    rollout: Rollout, laggards: tuple[str, ...], facts: Facts, now: datetime
) -> Transition:
    """End the step under way, and start what comes after it unless hooks hold that."""
    over = _event(rollout, EventKind.ROLLOUT_STEP_ENDED, now)
    behind = tuple(sorted({*rollout.laggards, *laggards}))
    following = _onward(replace(stepped(rollout, now), laggards=behind), facts, now)
    return replace(following, events=(over, *following.events))


def _onward(rollout: Rollout, facts: Facts, now: datetime) -> Transition:
    """Go on from between two steps."""
    if (found := held(rollout, facts)) is not None:
        moment, hook = found
        words = f"hooks {moment}: {hook.sentence}" if hook.sentence else f"hooks {moment}"
        if hook.stand is Stand.FAILED:
            return _turn_back(rollout, (words, ""), facts, now)
        if now >= rollout.deadline_at:
            return _turn_back(rollout, (f"the deadline has passed: {words}", ""), facts, now)
        return Transition(replace(rollout, phase=Phase.WAITING, sentence=f"waiting for {words}"))
    if rollout.step is None:
        return _succeed(rollout, facts, now)
    begun = started(rollout, covered(rollout, facts.servers), now)
    return Transition(begun, events=(_event(begun, EventKind.ROLLOUT_STEP_STARTED, now),))


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


def _turn_back(rollout: Rollout, why: tuple[str, str], facts: Facts, now: datetime) -> Transition:
    """End it and go back; `why` has our words and TensorFlow Serving's own."""
    sentence, error = why
    if facts.old_version_gone and rollout.moved:
        return _halt(rollout, f"the old version is gone: {sentence}")
    phase = Phase.ROLLED_BACK if _moved(rollout) else Phase.FAILED
    return _end(replace(rollout, error=error), phase, sentence, now)


def _failure(count: Count, server: str) -> tuple[str, str]:
    fact = count.facts[server]
    return f"{server}: {fact.words}", fact.error


def _too_late(count: Count, verdict: Verdict) -> tuple[str, str]:
    error = next((one.error for one in count.facts.values() if one.error), "")
    if verdict.ruling is Ruling.HOLD:
        return f"the deadline has passed: {verdict.sentence}", error
    return count.sentence("the deadline has passed"), error


def _moved(rollout: Rollout) -> bool:
    """Whether a label may stand elsewhere; a rollback moves it only where the target is loaded."""
    if rollout.kind is not Kind.ROLLBACK:
        return rollout.moved
    return any(seen.get("reach") == Reach.REACHED for one in rollout.steps for seen in _seen(one))


def _seen(step: Step) -> list[Mapping[str, str]]:
    return list(step.evidence.values()) if step.name is StepName.PROMOTE else []


def _halt(rollout: Rollout, why: str) -> Transition:
    text = (
        f"halted, as the new version may be the only healthy copy; roll back, abort or retry: {why}"
    )
    return Transition(replace(rollout, phase=Phase.WAITING, sentence=text))


def _wait(rollout: Rollout, count: Count, verdict: Verdict | None = None) -> Transition:
    step = rollout.step
    doing = DOING[step.name] if step else ""
    still = (Reach.UNREACHABLE, Reach.BLOCKED, Reach.LACKING)
    stuck = count.at(*still) and not count.at(Reach.MOVING)
    sentence = count.sentence(doing)
    if verdict is not None and verdict.ruling is Ruling.HOLD:
        stuck = stuck or (step is not None and step.name in (StepName.GATE, StepName.APPROVE))
        told = count.told
        sentence = f"{verdict.sentence}; {told}" if told else verdict.sentence
    phase = Phase.WAITING if stuck else Phase.PROGRESSING
    return Transition(replace(rollout, phase=phase, sentence=sentence))


def _witnessed(rollout: Rollout, step: Step, count: Count, now: datetime) -> Rollout:
    """Write down what changed of each server's reach; words alone are no change."""
    if step.name in STILL:
        return rollout  # their evidence is of another kind, and no server has to move
    news = {
        name: {"reach": str(fact.reach), "reached": fact.reach is Reach.REACHED,
               "sentence": fact.sentence, "error": fact.error, "at": now.isoformat()}
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
    """Take a rollout as far as it gets where there is no server to wait for."""
    there = Transition(rollout)
    while there.rollout.phase.live:
        following = advance(there.rollout, Facts({}), now)
        if following.rollout == there.rollout:
            break
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
        data |= {"spec": dict(step.spec)} if step.spec else {}
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
