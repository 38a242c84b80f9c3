"""What a server's plan means: to people in one word, to a rollout as a fact about its step."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from control_plane.domain.action import Blocked, Cause, Change, Converged, ModelAction, Plan, Wait
from control_plane.domain.advance import Reach, ServerFact
from control_plane.domain.observed import Observed
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Rollout, StepName
from control_plane.domain.state import Ability
from control_plane.domain.steps import State, StepTarget

Asked: TypeAlias = tuple[str, int]  # model and version
NOT_LOOKED = ServerFact(Reach.MOVING, "not looked at yet")
_FINAL = (Cause.LOAD_FAILED, Cause.FILES_BROKEN, Cause.UNABLE, Cause.QUARANTINED)
_SAID = {
    Cause.FILES_BROKEN: "broken files",
    Cause.QUARANTINED: "it brings the server down",
}
_LACKING = (Cause.FILES_MISSING, Cause.BASE_PATH_MISSING)
_NO_ANSWER = (Ability.UNABLE, Ability.RETRY)


class Status(enum.StrEnum):
    """How a server stands."""

    READY = "ready"  # it serves all that it should, and nothing else
    CONVERGING = "converging"  # something is still to be done, or is in the way
    BUSY = "busy"  # a reload waits for a load
    UNREACHABLE = "unreachable"
    WEDGED = "wedged"  # only a restart, or a path that it waits for, helps
    DRIFTED = "drifted"  # somebody else's config was seen there
    NOT_TAKEN_OVER = "not_taken_over"  # observed, never written to


_BY_CAUSE: Mapping[Cause, Status] = {
    Cause.NOT_TAKEN_OVER: Status.NOT_TAKEN_OVER,
    Cause.UNREACHABLE: Status.UNREACHABLE,
    Cause.WEDGED: Status.WEDGED,
    Cause.POSTPONED: Status.WEDGED,
    Cause.OTHER_WRITER: Status.DRIFTED,
    Cause.DRIFTED: Status.DRIFTED,
    Cause.PAUSED: Status.DRIFTED,
}


def status(plan: Plan, observed: Observed) -> Status:
    """Say in one word how a server stands."""
    action = plan.action
    if isinstance(action, Blocked) and action.cause in _BY_CAUSE:
        return _BY_CAUSE[action.cause]
    if observed.intent is not None and observed.intent.names_added:
        return Status.BUSY
    if observed.foreign:
        return Status.DRIFTED
    return Status.READY if isinstance(action, Converged) else Status.CONVERGING


@dataclass(frozen=True, slots=True)
class Standpoint:
    """A plan, what it was made from, and for which steps."""

    plan: Plan
    observed: Observed
    targets: Mapping[str, StepTarget]
    steps: frozenset[str]  # keys of the steps that had begun when it was made
    to_prove: Mapping[str, frozenset[int]] = field(default_factory=dict)  # by model, see `to_prove`


def to_prove(rollout: Rollout, before: State, after: State) -> Mapping[str, frozenset[int]]:
    """Return the versions that have to answer one real request before any label moves to them.

    That is part of loading them: a server where one cannot answer turns back a rollout in which
    nothing has moved yet anywhere.
    """
    step = rollout.step
    if step is None or step.name is not StepName.LOAD or not step.begun:
        return {}
    return {
        model: frozenset(v for label, v in to.labels.items() if _pointed(frm, label) != v)
        for model in rollout.models
        if (to := after.get(model)) is not None
        for frm in (before.get(model),)
    }


def _pointed(deployment: Deployment | None, label: str) -> int | None:
    return deployment.labels.get(label) if deployment else None


def unproven(observed: Observed, versions: Mapping[str, frozenset[int]]) -> tuple[Asked, ...]:
    """Return those of the versions that are AVAILABLE and have not answered yet."""
    return tuple(
        (model, version)
        for model, wanted in sorted(versions.items())
        for version in sorted(wanted)
        if observed.available(model, version)
        and (
            (able := observed.models[model][version].able) is None or able.ability is Ability.RETRY
        )
    )


def fact(rollout: Rollout, key: str, at: Standpoint | None) -> ServerFact:
    """Say how far a server is with a rollout's step; plans made for another step say nothing."""
    if at is None:
        return NOT_LOOKED
    action = at.plan.action
    if isinstance(action, Blocked) and action.cause is Cause.UNREACHABLE:
        return ServerFact(Reach.UNREACHABLE, action.why)
    if key not in at.steps:
        return NOT_LOOKED
    if not at.plan.models:
        reach = Reach.BLOCKED if isinstance(action, Blocked) else Reach.MOVING
        return ServerFact(reach, at.plan.sentence)
    return _worst(_of_model(rollout, name, at) for name in rollout.models)


_ORDER = (Reach.FAILED, Reach.LACKING, Reach.BLOCKED, Reach.MOVING, Reach.REACHED)


def _worst(facts: Iterable[ServerFact]) -> ServerFact:
    return min(facts, key=lambda one: _ORDER.index(one.reach))


def _of_model(rollout: Rollout, name: str, at: Standpoint) -> ServerFact:
    action = at.plan.models.get(name, Converged())
    if isinstance(action, Converged) or _flipped(rollout, name, at):
        return _proof(name, at)
    if _left_behind(rollout, name, at):
        return ServerFact(Reach.REACHED, "done; what it left goes beside")
    if not isinstance(action, Blocked):
        return ServerFact(Reach.MOVING, _words(action))
    if action.cause in _LACKING:
        return ServerFact(Reach.LACKING, action.why)
    if action.cause not in _FINAL:
        return ServerFact(Reach.BLOCKED, action.why)
    if action.cause in _SAID:
        return ServerFact(Reach.FAILED, _SAID[action.cause], action.why)
    failure = _failure(name, _needed(rollout, name, at), at.observed)
    if failure is None:
        return ServerFact(Reach.MOVING, action.why)
    version, text = failure
    failed = "cannot answer" if action.cause is Cause.UNABLE else "failed to load"
    return ServerFact(Reach.FAILED, f"{name} {version} {failed}", text)


def _proof(name: str, at: Standpoint) -> ServerFact:
    """Whether all that has to answer before labels move has answered."""
    for version in sorted(at.to_prove.get(name, ())):
        seen = at.observed.models.get(name, {}).get(version)
        able = seen.able if seen else None
        if able is None or able.ability is Ability.RETRY:
            return ServerFact(Reach.MOVING, f"{name} {version} has to answer one request")
        if able.ability is Ability.UNABLE:
            return ServerFact(Reach.FAILED, f"{name} {version} cannot answer", able.text)
    return ServerFact(Reach.REACHED, "done")


def _words(action: ModelAction) -> str:
    return "" if isinstance(action, Converged) else action.why


def _rolls_back(rollout: Rollout) -> bool:
    if rollout.kind is not Kind.ROLLBACK:
        return False
    step = rollout.step
    return step is not None and step.name is StepName.PROMOTE


def _flipped(rollout: Rollout, name: str, at: Standpoint) -> bool:
    """Whether a rollback has its labels; what it leaves may be as broken as it likes."""
    return _rolls_back(rollout) and _labelled(name, at)


def _left_behind(rollout: Rollout, name: str, at: Standpoint) -> bool:
    """Whether a rollback has its labels, and what is left is the server's to do.

    A load that was dropped ends with its retries, which may take longer than anyone waits.
    """
    step = rollout.step
    if rollout.kind is not Kind.ROLLBACK or step is None or step.name is not StepName.RETIRE:
        return False
    return not isinstance(at.plan.models.get(name), Change) and _labelled(name, at)


def _labelled(name: str, at: Standpoint) -> bool:
    """Whether the labels in force are those that the step asks for, on what is loaded."""
    target, verified = at.targets.get(name), at.observed.verified
    if target is None or verified is None:
        return False
    held = verified.config.models.get(name)
    there = all(at.observed.available(name, version) for version in target.labels.values())
    return held is not None and there and dict(held.labels) == dict(target.labels)


def _needed(rollout: Rollout, name: str, at: Standpoint) -> frozenset[int]:
    """The versions without which the step cannot be reached."""
    target = at.targets.get(name)
    if target is None:
        return frozenset()
    return frozenset(target.labels.values()) if _rolls_back(rollout) else target.versions


def _failure(name: str, versions: frozenset[int], observed: Observed) -> tuple[int, str] | None:
    """The first of the versions that failed, and TensorFlow Serving's own text about it."""
    for version in sorted(versions, reverse=True):
        seen = observed.models.get(name, {}).get(version)
        if seen is None:
            continue
        if seen.failed:
            return version, seen.error
        if seen.able is not None and seen.able.ability in _NO_ANSWER:
            return version, seen.able.text
    return None


def waits(plan: Plan) -> tuple[Wait, ...]:
    """Everything that a plan waits for."""
    found = (plan.action, *plan.models.values())
    return tuple(one for one in found if isinstance(one, Wait))
