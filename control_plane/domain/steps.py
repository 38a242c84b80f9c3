"""What the steps of a rollout mean: which there are, and what each server serves in them.

load      old and new versions, labels as before
canary    as load, with one label for trying out as after
promote   old and new versions, labels as after
retire    versions and labels as after

The others change nothing. A step may cover some of the servers only; what a server serves is what
the steps that covered it gave it, one after the other.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.share import parse_share

State = Mapping[str, Deployment | None]  # by model; None: not deployed
Journey = tuple[Rollout, State, State]  # with its deployments before and after it

DOING: Final = {
    StepName.LOAD: "loading",
    StepName.CANARY: "moving the canary label",
    StepName.BAKE: "baking",
    StepName.GATE: "waiting for a gate",
    StepName.APPROVE: "waiting for approval",
    StepName.PROMOTE: "moving labels",
    StepName.DRAIN: "draining",
    StepName.RETIRE: "dropping what is not kept",
}
STILL: Final = (StepName.BAKE, StepName.GATE, StepName.APPROVE)  # they may be hurried
_SERVING: Final = (StepName.LOAD, StepName.CANARY, StepName.PROMOTE, StepName.RETIRE)
ROOM: Final = "room"  # in a load's `spec`: what goes first, by model
_PATIENCE_S: Final = 30 * 24 * 3600.0  # for people and for calendars


@dataclass(frozen=True, slots=True)
class StepTarget:
    """What a server should serve of one model now."""

    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = False  # a rollback: before everything else, without a barrier
    key: str = ""  # the step that it was computed for, else the head's revision
    room: frozenset[int] = frozenset()  # goes before anything is loaded, for want of memory


def step_key(rollout: Rollout) -> str:
    """Name the step under way, so that a fact can be matched to it."""
    done = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    return f"{rollout.id}:{done}"


def desired_models(
    head: Mapping[str, Deployment],
    live: Sequence[Journey],
    revisions: Mapping[str, int] | None = None,
) -> Mapping[str, StepTarget]:
    """Return what the servers of a fleet should serve now, by model; one left out goes away.

    `live` holds each live rollout with the deployments of its models at its `from_revision` and at
    its `to_revision`; `revisions` the revision that last changed each deployment of the head. What
    steps for a part of the servers gave to those is not in it: see `targets_of`.
    """
    of_head = {
        model: StepTarget(one.versions, one.labels, key=f"head:{(revisions or {}).get(model, 0)}")
        for model, one in head.items()
    }
    moving = {model for rollout, _, _ in live for model in rollout.models}
    wanted = {model: target for model, target in of_head.items() if model not in moving}
    for journey in live:
        wanted |= _targets(journey, "")
    return wanted


def targets_of(
    server: str, targets: Mapping[str, StepTarget], live: Iterable[Journey]
) -> Mapping[str, StepTarget]:
    """Return what one server should serve: `desired_models`, and what it got before others."""
    own: dict[str, StepTarget] = {}
    for journey in live:
        if any(server in one.servers and not _whole(one) for one in journey[0].steps):
            own |= _targets(journey, server)
    return {**targets, **own} if own else targets


def _targets(journey: Journey, server: str) -> dict[str, StepTarget]:
    rollout, before, after = journey
    found = {
        model: _target(rollout, before.get(model), after.get(model), server)
        for model in rollout.models
    }
    return {model: target for model, target in found.items() if target is not None}


def _target(
    rollout: Rollout, before: Deployment | None, after: Deployment | None, server: str
) -> StepTarget | None:
    old, new = _served(before), _served(after)
    versions, labels = old
    model = next((one.model for one in (after, before) if one), "")
    room: frozenset[int] = frozenset()
    for step in rollout.steps:
        if not step.begun or not (_whole(step) or server in step.servers):
            continue
        room |= first_of(step).get(model, frozenset())
        if step.name in _SERVING:
            versions = (old[0] - room) | new[0]
        if step.name is StepName.CANARY:
            label = step.spec.get("label", "")
            labels = {**labels, **{name: v for name, v in new[1].items() if name == label}}
        elif step.name in (StepName.PROMOTE, StepName.RETIRE):
            versions, labels = (versions if step.name is StepName.PROMOTE else new[0]), new[1]
    if not versions:
        return None
    at = rollout.step
    urgent = rollout.kind is Kind.ROLLBACK and at is not None and at.name is StepName.PROMOTE
    return StepTarget(versions, labels, urgent, step_key(rollout), room)


def first_of(step: Step) -> Mapping[str, frozenset[int]]:
    """Return by model what has to go on each server before this step loads anything there."""
    return {model: frozenset(some) for model, some in step.spec.get(ROOM, {}).items()}


def _served(deployment: Deployment | None) -> tuple[frozenset[int], Mapping[str, int]]:
    return (deployment.versions, deployment.labels) if deployment else (frozenset(), {})


def _whole(step: Step) -> bool:
    return bool(step.spec.get("servers", "all") == "all")


def has_moved(rollout: Rollout, label: str) -> bool:
    """Whether a label may stand elsewhere already on every server."""
    return any(
        one.name is StepName.PROMOTE
        or (one.name is StepName.CANARY and one.spec.get("label") == label)
        for one in rollout.steps
        if one.begun and _whole(one)
    )


def still_moves(journey: Journey, model: str, label: str) -> bool:
    """Whether a rollout has yet to bring a label to where it will be on every server."""
    rollout, before, after = journey
    if _pointed(before.get(model), label) == _pointed(after.get(model), label):
        return False
    return not any(
        one.name is StepName.PROMOTE
        or (one.name is StepName.CANARY and one.spec.get("label") == label)
        for one in rollout.steps
        if one.phase is Phase.SUCCEEDED and _whole(one)
    )


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


def covered(rollout: Rollout, present: Collection[str]) -> tuple[str, ...]:
    """Return the servers that the step under way will have, of those that the fleet has now.

    Who came after the first step that changed something is brought along beside the rollout and
    never counts. A share is taken in order of name; who was in a wave is in the next ones too.
    """
    roster = next(
        (one.servers for one in rollout.steps if one.begun and one.name in _SERVING), None
    )
    names = set(present) if roster is None else set(present) & set(roster)
    counted = sorted(names - set(rollout.laggards))
    step = rollout.step
    if step is None or _whole(step):
        return tuple(counted)
    share = parse_share("servers", step.spec["servers"])
    earlier = {
        name for one in rollout.steps if one.begun and one.name is step.name for name in one.servers
    }
    first = counted[: share.of(len(counted))]
    return tuple(name for name in counted if name in earlier or name in first)


def started(rollout: Rollout, servers: Iterable[str], now: datetime) -> Rollout:
    """Start the step under way with this set of servers; the set never changes after.

    The time that the step itself asks for does not count against the rollout's deadline.
    """
    index = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    step = replace(
        rollout.steps[index],
        phase=Phase.PROGRESSING,
        servers=tuple(sorted(servers)),
        started_at=now,
    )
    return replace(
        rollout,
        phase=Phase.PROGRESSING,
        steps=(*rollout.steps[:index], step, *rollout.steps[index + 1 :]),
        sentence=DOING[step.name],
        deadline_at=rollout.deadline_at + timedelta(seconds=budget_s(step)),
    )


def stepped(rollout: Rollout, now: datetime) -> Rollout:
    """End the step under way well; what is left of its own time is taken back."""
    step = rollout.step
    if step is None:
        return rollout
    done = replace(step, phase=Phase.SUCCEEDED, ended_at=now)
    took_s = (now - step.started_at).total_seconds() if step.started_at else 0.0
    left_s = max(budget_s(step) - max(took_s, 0.0), 0.0)
    return replace(
        rollout,
        steps=tuple(done if one is step else one for one in rollout.steps),
        deadline_at=rollout.deadline_at - timedelta(seconds=left_s),
    )


def budget_s(step: Step) -> float:
    """How long a step may take because of what it is."""
    match step.name:
        case StepName.BAKE | StepName.DRAIN:
            return float(step.spec["seconds"])
        case StepName.APPROVE:
            return _PATIENCE_S
        case StepName.GATE if step.spec.get("kind") in ("freeze", "schedule"):
            return _PATIENCE_S
        case StepName.GATE:
            return float(step.spec.get("window_s") or 0.0)
        case _:
            return 0.0


def ends_at(rollout: Rollout) -> datetime | None:
    """When the step under way is over by time alone; None where time does not end it."""
    step = rollout.step
    if step is None or step.started_at is None:
        return None
    if step.name not in (StepName.BAKE, StepName.DRAIN):
        return None
    return step.started_at + timedelta(seconds=budget_s(step))


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
