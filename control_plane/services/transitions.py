"""Writes what `advance` decided: revert revision, rollout, verified labels and events, at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from control_plane.domain.advance import Transition
from control_plane.domain.events import Event, EventKind
from control_plane.domain.promotion import reverted
from control_plane.domain.revision import Deployment, Kind, Revision
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.steps import State, labels_to_verify
from control_plane.failpoints import failpoint
from control_plane.store import holds, journal, revisions, rollouts
from control_plane.store.database import Session
from control_plane.store.holds import Hold


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes; the loop has the epoch of its lease, a person has none."""

    actor: str
    now: datetime
    reason: str = ""
    epoch: int | None = None
    automatic: bool = False  # a policy or a service: no person says so


async def state_at(s: Session, fleet: str, number: int) -> Mapping[str, Deployment]:
    """Return what a fleet should have served at a revision."""
    found = await revisions.state_at(s, fleet, number)
    return {model: one.deployment for model, one in found.items()}


async def around(s: Session, rollout: Rollout) -> tuple[State, State]:
    """Return a rollout's deployments before and after it."""
    before = await state_at(s, rollout.fleet, rollout.from_revision)
    after = await state_at(s, rollout.fleet, rollout.to_revision)
    return reverted(before, rollout.models), reverted(after, rollout.models)


async def record(s: Session, rollout: Rollout, transition: Transition, by: Writer) -> Rollout:
    """Write a transition of `rollout` and return how it stands now.

    Raises:
        LeaseLost: another process reconciles the fleet.
        PreconditionFailed: the rollout changed since it was read.
    """
    events: tuple[Event, ...] = ()
    if transition.revert:
        await failpoint("revert.before_append")
        events = (await _revert(s, transition.rollout, by),)
        if transition.rollout.phase is Phase.ROLLED_BACK:
            await _hold(s, transition.rollout, by)
        await failpoint("revert.appended")
    saved = await rollouts.save(s, rollout, transition.rollout, epoch=by.epoch)
    if transition.verify:
        events += await _verify(s, saved, by)
        await failpoint("label.verified")
    await journal.append(s, *events, *transition.events)
    await failpoint("rollout.saved")
    return saved


async def _revert(s: Session, rollout: Rollout, by: Writer) -> Event:
    past = await state_at(s, rollout.fleet, rollout.from_revision)
    changes = reverted(past, rollout.models)
    why = Writer(by.actor, by.now, by.reason or rollout.sentence)
    return revision_event(await append(s, rollout.fleet, Kind.REVERT, changes, why), rollout.id)


async def _hold(s: Session, rollout: Rollout, by: Writer) -> None:
    seen = labels_to_verify(rollout, *await around(s, rollout))
    why = by.reason or rollout.sentence
    held = [Hold(rollout.fleet, *one, since=by.now, actor=by.actor, reason=why) for one in seen]
    await holds.place(s, held)


async def append(
    s: Session,
    fleet: str,
    kind: Kind,
    changes: Mapping[str, Deployment | None],
    by: Writer,
    last: Mapping[str, int] | None = None,
) -> Revision:
    """Append a revision to what is there now; `last` has what touched each model last."""
    if last is None:
        last = {model: await revisions.last_changed(s, fleet, model) for model in changes}
    return await revisions.append(
        s,
        fleet,
        kind=kind,
        actor=by.actor,
        reason=by.reason,
        changes=changes,
        expected={model: last[model] for model in changes},
        now=by.now,
    )


async def _verify(s: Session, rollout: Rollout, by: Writer) -> tuple[Event, ...]:
    seen = labels_to_verify(rollout, *await around(s, rollout))
    for model, label, version in seen:
        at = (label, version, rollout.to_revision, by.now)
        await rollouts.verify_label(s, rollout.fleet, model, *at)
    return tuple(
        Event(
            kind=EventKind.LABEL_VERIFIED,
            at=by.now,
            actor=by.actor,
            fleet=rollout.fleet,
            model=model,
            rollout=rollout.id,
            revision=rollout.to_revision,
            data={"label": label, "version": version},
        )
        for model, label, version in seen
    )


def revision_event(made: Revision, rollout: str) -> Event:
    """Return the record of a new revision."""
    return Event(
        kind=EventKind.REVISION_CREATED,
        at=made.created_at,
        actor=made.actor,
        fleet=made.fleet,
        model=only(made.changes),
        rollout=rollout,
        revision=made.number,
        reason=made.reason,
        data={"kind": str(made.kind), "changes": {m: _told(d) for m, d in made.changes.items()}},
    )


def rollout_event(
    kind: EventKind, rollout: Rollout, by: Writer, data: Mapping[str, object]
) -> Event:
    """Return the record of what somebody did to a rollout."""
    return Event(
        kind=kind,
        at=by.now,
        actor=by.actor,
        fleet=rollout.fleet,
        model=only(rollout.models),
        rollout=rollout.id,
        revision=rollout.to_revision,
        reason=by.reason,
        data=data,
    )


def only(models: Iterable[str]) -> str:
    """Return the one model that it is about; "" when there are several."""
    names = tuple(models)
    return names[0] if len(names) == 1 else ""


def _told(deployment: Deployment | None) -> Mapping[str, object] | None:
    if deployment is None:
        return None
    return {"versions": sorted(deployment.versions), "labels": dict(deployment.labels)}
