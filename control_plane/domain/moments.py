"""Between two steps: whose hooks run then, and what they make of it.

A step that ended is followed by the next one only when the hooks of the moments between them are
done; until then neither is under way. A rollback waits for no hook, and none waits for those of a
server that loads later than the others.
"""

from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import HookFact, Moment, Stand
from control_plane.domain.reach import Facts
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.state import State
from control_plane.domain.steps import first_of

_LABELS = (StepName.CANARY, StepName.PROMOTE)
_UNLOADS = (StepName.DRAIN, StepName.RETIRE)


def due(rollout: Rollout) -> tuple[Moment, ...]:
    """Return the moments that a rollout stands at, in their order; none while a step runs."""
    step = rollout.step
    if not rollout.phase.live or (step is not None and step.begun):
        return ()
    names = [one.name for one in rollout.steps]
    done = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    before, after = names[:done], names[done:]
    last = before[-1] if before else None
    following = after[0] if after else None
    found = {
        Moment.AFTER_LOAD: last is StepName.LOAD,
        Moment.AFTER_PROMOTE: last is StepName.PROMOTE and StepName.PROMOTE not in after,
        Moment.AFTER_UNLOAD: last is StepName.RETIRE,
        Moment.BEFORE_LOAD: following is StepName.LOAD,
        Moment.BEFORE_PROMOTE: following in _LABELS and not set(_LABELS) & set(before),
        Moment.BEFORE_UNLOAD: bool(step and first_of(step))
        or (following in _UNLOADS and not set(_UNLOADS) & set(before)),
    }
    return tuple(moment for moment, stands in found.items() if stands)


def held(rollout: Rollout, facts: Facts) -> tuple[Moment, HookFact] | None:
    """Return the first due moment that is not done; None when the rollout may go on."""
    if rollout.kind is Kind.ROLLBACK:
        return None
    for moment in due(rollout):
        fact = facts.hooks.get(moment)
        if fact is not None and fact.stand is not Stand.DONE:
            return moment, fact
    return None


def loaded_late(rollout: Rollout, event: Event) -> bool:
    """Whether an event tells of a load after the moment for it: of a laggard, or after a restart.

    When a rollout is over, only its laggards still belong to it.
    """
    loaded = (EventKind.VERSION_STATE_CHANGED, State.AVAILABLE.name)
    if (event.kind, event.data.get("state")) != loaded or event.model not in rollout.models:
        return False
    left_over = rollout.phase is Phase.SUCCEEDED and event.server in rollout.laggards
    loads = StepName.PROMOTE if rollout.kind is Kind.ROLLBACK else StepName.LOAD
    ends = [one.ended_at for one in rollout.steps if one.name is loads]
    past = bool(ends) and ends[-1] is not None and event.at > ends[-1]
    return past and (rollout.phase.live or left_over)
