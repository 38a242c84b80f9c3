"""What people tell a live rollout: yes, or not to wait for what they vouch for themselves."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from control_plane.domain.awaited import awaited_people
from control_plane.domain.calendar import FREEZE
from control_plane.domain.errors import Denied, PhaseForbids
from control_plane.domain.gate import Ruling
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.steps import STILL

_LONGEST_REASON: Final = 1_024


def approved(rollout: Rollout, actor: str, reason: str, now: datetime) -> Rollout:
    """Return the rollout with this person's yes; a second one from the same person adds nothing.

    Raises:
        PhaseForbids: it waits for no approval.
        Denied: its author's own does not count.
    """
    step = waits_for_people(rollout)
    if step.spec["exclude_author"] and actor == rollout.actor:
        raise Denied(f"{actor} asked for rollout {rollout.id}, so somebody else must approve it")
    given = step.evidence.get("approvals", [])
    if any(one["actor"] == actor for one in given):
        return rollout
    evidence = {**step.evidence, "approvals": [*given, _said(actor, reason, now)]}
    return _with(rollout, {id(step): replace(step, evidence=evidence)})


def waits_for_people(rollout: Rollout) -> Step:
    """Return the step under way, which waits for approvals.

    Raises:
        PhaseForbids: it does not, or the rollout is over.
    """
    step = rollout.step
    waits = rollout.phase.live and step is not None and step.begun
    if step is None or not waits or step.name is not StepName.APPROVE:
        raise PhaseForbids(f"rollout {rollout.id} waits for no approval", phase=rollout.phase)
    return step


def hurried(rollout: Rollout, actor: str, reason: str, now: datetime) -> tuple[Rollout, list[str]]:
    """Return the rollout without what it waits for up to its last wave, and what that is.

    Raises:
        PhaseForbids: it is over, or nothing of the kind is to come.
    """
    skipped = still_waited_for(rollout)
    if not rollout.phase.live or not skipped:
        text = f"rollout {rollout.id} has no bake, gate or approval before its promotion"
        raise PhaseForbids(text, phase=rollout.phase)
    return _skipping(rollout, skipped, _said(actor, reason, now))


def still_waited_for(rollout: Rollout) -> list[Step]:
    """Return the bakes, gates and approvals that are to come before the labels moved everywhere."""
    promotes = [at for at, one in enumerate(rollout.steps) if one.name is StepName.PROMOTE]
    return _open(rollout.steps[: promotes[-1]] if promotes else ())


def blockers(rollout: Rollout, actor: str, *, automatic: bool) -> list[dict[str, str]]:
    """Return the missing approvals that this caller may not do without, by step and sentence.

    Those are every approval for what is automatic, and for its author those that others give.
    """
    return [
        {"step": str(one.name), "sentence": awaited_people(rollout, one).sentence}
        for one in still_waited_for(rollout)
        if one.name is StepName.APPROVE
        and (automatic or (one.spec["exclude_author"] and actor == rollout.actor))
        and awaited_people(rollout, one).ruling is not Ruling.PASS
    ]


def unfrozen(rollout: Rollout, actor: str, why: str, now: datetime) -> tuple[Rollout, list[str]]:
    """Return the rollout with no freeze before it any more, and which those were.

    Raises:
        PhaseForbids: there is none.
    """
    found = [one for one in _open(rollout.steps) if one.spec.get("kind") == FREEZE]
    if not rollout.phase.live or not found:
        raise PhaseForbids(f"rollout {rollout.id} has no freeze before it", phase=rollout.phase)
    return _skipping(rollout, found, _said(actor, why, now))


def _open(steps: Iterable[Step]) -> list[Step]:
    return [
        one
        for one in steps
        if one.name in STILL and one.phase is not Phase.SUCCEEDED and "skipped" not in one.evidence
    ]


def _skipping(
    rollout: Rollout, steps: list[Step], said: Mapping[str, Any]
) -> tuple[Rollout, list[str]]:
    changed = {id(one): replace(one, evidence={**one.evidence, "skipped": said}) for one in steps}
    return _with(rollout, changed), [_title(one) for one in steps]


def _title(step: Step) -> str:
    name = step.spec.get("name", "")
    return f"{step.name} {name}" if name else str(step.name)


def _said(actor: str, reason: str, now: datetime) -> dict[str, Any]:
    return {"actor": actor, "at": now.isoformat(), "reason": reason[:_LONGEST_REASON]}


def _with(rollout: Rollout, changed: dict[int, Step]) -> Rollout:
    return replace(rollout, steps=tuple(changed.get(id(one), one) for one in rollout.steps))
