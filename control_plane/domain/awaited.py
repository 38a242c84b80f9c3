"""What a step waits for beside its servers: time, a gate's verdict, people."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.reach import Facts
from control_plane.domain.rollout import Rollout, Step, StepName
from control_plane.domain.steps import DOING, ends_at

_FREE = Verdict(Ruling.PASS, "nothing else to wait for")


def awaited(rollout: Rollout, step: Step, facts: Facts, now: datetime) -> Verdict:
    """Say whether the step under way may end, as far as that is not for servers to say."""
    if hurried_by := step.evidence.get("skipped"):
        return Verdict(Ruling.PASS, f"skipped by {hurried_by['actor']}")
    match step.name:
        case StepName.BAKE | StepName.DRAIN:
            return _time(rollout, step, now)
        case StepName.GATE:
            name = step.spec.get("name", "")
            return facts.verdict or Verdict(Ruling.HOLD, f"the gate {name} has not ruled yet")
        case StepName.APPROVE:
            return awaited_people(rollout, step)
        case _:
            return _FREE


def _time(rollout: Rollout, step: Step, now: datetime) -> Verdict:
    end = ends_at(rollout)
    if end is None or now >= end:
        return _FREE
    return Verdict(Ruling.HOLD, f"{DOING[step.name]} until {end:%Y-%m-%d %H:%M:%S} UTC")


def awaited_people(rollout: Rollout, step: Step) -> Verdict:
    """Say whether enough people have approved."""
    given = [one["actor"] for one in step.evidence.get("approvals", ())]
    needed = step.spec["count"]
    if len(given) >= needed:
        return Verdict(Ruling.PASS, f"approved by {', '.join(given)}")
    words = f"waiting for approval: {len(given)} of {needed}"
    words += f" ({', '.join(given)})" if given else ""
    words += f"; not by {rollout.actor}, who asked for it" if step.spec["exclude_author"] else ""
    return Verdict(Ruling.HOLD, words)


def noted(rollout: Rollout, step: Step, verdict: Verdict) -> Rollout:
    """Write a gate's verdict down where it says something new."""
    last: Mapping[str, Any] = step.evidence.get("verdict", {})
    same = (last.get("ruling"), last.get("sentence")) == (str(verdict.ruling), verdict.sentence)
    if step.name is not StepName.GATE or same:
        return rollout
    told = {
        "ruling": str(verdict.ruling),
        "sentence": verdict.sentence,
        "evidence": dict(verdict.evidence),
    }
    seen = replace(step, evidence={**step.evidence, "verdict": told})
    return replace(rollout, steps=tuple(seen if one is step else one for one in rollout.steps))
