"""What people tell a live rollout: yes, or not to wait for what they vouch for themselves."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from control_plane.domain.errors import Denied, PhaseForbids
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
    promotes = [at for at, one in enumerate(rollout.steps) if one.name is StepName.PROMOTE]
    to_come = rollout.steps[: promotes[-1]] if promotes else ()
    skipped = [
        one
        for one in to_come
        if one.name in STILL and one.phase is not Phase.SUCCEEDED and "skipped" not in one.evidence
    ]
    if not rollout.phase.live or not skipped:
        text = f"rollout {rollout.id} has no bake, gate or approval before its promotion"
        raise PhaseForbids(text, phase=rollout.phase)
    said = _said(actor, reason, now)
    changed = {id(one): replace(one, evidence={**one.evidence, "skipped": said}) for one in skipped}
    return _with(rollout, changed), [_title(one) for one in skipped]


def _title(step: Step) -> str:
    name = step.spec.get("name", "")
    return f"{step.name} {name}" if name else str(step.name)


def _said(actor: str, reason: str, now: datetime) -> dict[str, Any]:
    return {"actor": actor, "at": now.isoformat(), "reason": reason[:_LONGEST_REASON]}


def _with(rollout: Rollout, changed: dict[int, Step]) -> Rollout:
    return replace(rollout, steps=tuple(changed.get(id(one), one) for one in rollout.steps))
