"""The hard states of a server: those that a planner meets rarely and must survive."""

from control_plane.domain.action import Blocked, Cause, Converged, Plan
from control_plane.domain.observed import Observed
from control_plane.domain.state import Config, State


def hard_states(seen: Observed, plan: Plan, *, labels_flag: bool) -> set[str]:
    """Name those that the server is in now, by what was observed and decided."""
    config = seen.verified.config if seen.verified else Config()
    blocked = plan.action.cause if isinstance(plan.action, Blocked) else None
    frozen = [
        one
        for name, one in plan.models.items()
        if name in config.models and isinstance(one, Blocked)
    ]
    there = {
        "stale END": any(
            one.state is State.END and one.since <= seen.added.get(name, {}).get(version, 0.0)
            for name, model in config.models.items()
            for version, one in seen.models.get(name, {}).items()
            if version in model.versions
        ),
        "phantom START": any(
            one.state is State.START and version in seen.dropped.get(name, {})
            for name, versions in seen.models.items()
            if name not in config.models
            for version, one in versions.items()
        ),
        "dangling label without the flag": not labels_flag
        and any(
            not seen.available(name, version)
            for name, model in config.models.items()
            for version in model.labels.values()
        ),
        "postponed list": blocked is Cause.POSTPONED or bool(plan.notes),
        "frozen poll": any(one.cause is Cause.BASE_PATH_MISSING for one in frozen),
        "converged": isinstance(plan.action, Converged),
    }
    return {state for state, true in there.items() if true}
