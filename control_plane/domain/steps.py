"""What the steps of a rollout mean: which there are, and what each server serves in them.

load      old and new versions, labels as before
promote   old and new versions, labels as after
retire    versions and labels as after
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName

State = Mapping[str, Deployment | None]  # by model; None: not deployed

DOING: Final = {
    StepName.LOAD: "loading",
    StepName.PROMOTE: "moving labels",
    StepName.RETIRE: "dropping what is not kept",
}


@dataclass(frozen=True, slots=True)
class StepTarget:
    """What a server should serve of one model now."""

    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = False  # a rollback: before everything else, without a barrier
    key: str = ""  # the step that it was computed for, else the head's revision


def step_key(rollout: Rollout) -> str:
    """Name the step under way, so that a fact can be matched to it."""
    done = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    return f"{rollout.id}:{done}"


def desired_models(
    head: Mapping[str, Deployment],
    live: Sequence[tuple[Rollout, State, State]],
    revisions: Mapping[str, int] | None = None,
) -> Mapping[str, StepTarget]:
    """Return what every server of a fleet should serve now, by model; a model left out goes away.

    `live` holds each live rollout with the deployments of its models at its `from_revision` and at
    its `to_revision`; `revisions` the revision that last changed each deployment of the head.
    """
    of_head = {
        model: StepTarget(one.versions, one.labels, key=f"head:{(revisions or {}).get(model, 0)}")
        for model, one in head.items()
    }
    moving = {model for rollout, _, _ in live for model in rollout.models}
    wanted = {model: target for model, target in of_head.items() if model not in moving}
    for rollout, before, after in live:
        for model in rollout.models:
            target = _target(rollout, before.get(model), after.get(model))
            if target is not None:
                wanted[model] = target
    return wanted


def _target(
    rollout: Rollout, before: Deployment | None, after: Deployment | None
) -> StepTarget | None:
    step = rollout.step
    if step is None or step.name is StepName.RETIRE:
        both, labels = (after.versions if after else frozenset()), after
    else:
        both = frozenset().union(*(one.versions for one in (before, after) if one))
        labels = before if step.name is StepName.LOAD else after
    if not both:
        return None
    urgent = rollout.kind is Kind.ROLLBACK and step is not None and step.name is StepName.PROMOTE
    return StepTarget(both, labels.labels if labels else {}, urgent, step_key(rollout))


def steps_for(kind: Kind, before: State, after: State) -> tuple[Step, ...]:
    """Return the steps that bring servers from one state to the other.

    A rollback loads and flips server by server, so it has no step of loading alone.
    """
    pairs = [(before.get(model), after.get(model)) for model in {*before, *after}]
    moves = any((a.labels if a else {}) != (b.labels if b else {}) for b, a in pairs)
    loads = any(a is not None and a.versions - (b.versions if b else set()) for b, a in pairs)
    drops = any(b is not None and b.versions - (a.versions if a else set()) for b, a in pairs)
    arrives = any(after.values())
    wanted = {
        StepName.LOAD: kind is not Kind.ROLLBACK and (loads or (moves and arrives)),
        StepName.PROMOTE: kind is Kind.ROLLBACK or moves,
        StepName.RETIRE: drops or moves or not loads,
    }
    return tuple(Step(name) for name, needed in wanted.items() if needed)


def started(rollout: Rollout, servers: Iterable[str], now: datetime) -> Rollout:
    """Start the step under way with this set of servers; the set never changes after."""
    index = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    step = replace(
        rollout.steps[index],
        phase=Phase.PROGRESSING,
        servers=tuple(sorted(servers)),
        started_at=now,
    )
    steps = (*rollout.steps[:index], step, *rollout.steps[index + 1 :])
    return replace(rollout, phase=Phase.PROGRESSING, steps=steps, sentence=DOING[step.name])


def labels_to_verify(
    rollout: Rollout, before: State, after: State
) -> tuple[tuple[str, str, int], ...]:
    """Return (model, label, version) of every label that this rollout moved, or was asked to."""
    return tuple(
        (model, label, version)
        for model in rollout.models
        if (target := after.get(model)) is not None
        for label, version in sorted(target.labels.items())
        if label == rollout.label or _pointed(before.get(model), label) != version
    )


def _pointed(deployment: Deployment | None, label: str) -> int | None:
    return deployment.labels.get(label) if deployment else None
