"""What a person may tell a rollout as it stands, and why not the rest; nothing is changed.

The use cases decide anew when somebody does tell it: this is so that nobody has to try.
"""

from datetime import datetime
from typing import Any, Final

from control_plane.domain.errors import Denied, PhaseForbids
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.steering import approved, blockers, hurried, waits_for_people
from control_plane.domain.steps import State
from control_plane.services.rollouts import Verb
from control_plane.services.transitions import around
from control_plane.store import revisions, rollouts
from control_plane.store.database import Database

Json = dict[str, Any]
_MOVERS: Final = (Kind.PROMOTE, Kind.DEPLOY)


async def choices(db: Database, id_: str, actor: str, now: datetime) -> Json:
    """Return what this person may do: by verb the reason why not, "" where it is allowed.

    `rollback` names the model and the label whose move can be taken back; null: there is none.

    Raises:
        NotFound: no such rollout.
    """
    async with db.read() as s:
        rollout = await rollouts.rollout(s, id_)
        before, after = await around(s, rollout)
        head = await revisions.head(s, rollout.fleet)
    here = {model: one.deployment for model, one in head.items()}
    changed = any(here.get(model) != one for model, one in before.items())
    verbs = {str(verb): _why_not(rollout, verb, actor, now) for verb in Verb}
    if not rollout.phase.live and not verbs[Verb.RETRY] and changed:
        verbs[Verb.RETRY] = "changed"
    return {"verbs": verbs, "rollback": _way_back(rollout, before, after, here)}


def _why_not(rollout: Rollout, verb: Verb, actor: str, now: datetime) -> str:
    """Return a word for what keeps a person from telling a rollout this."""
    if not rollout.phase.live:
        again = verb is Verb.RETRY and rollout.phase is not Phase.SUCCEEDED
        return "" if again and not rollout.superseded_by else "over"
    paused = rollout.phase is Phase.PAUSED
    match verb:
        case Verb.ABORT:
            return ""
        case Verb.PAUSE | Verb.RETRY:
            return "paused" if paused else ""
        case Verb.RESUME:
            return "" if paused else "not_paused"
        case Verb.REJECT:
            return _asked(rollout)
        case Verb.APPROVE:
            return _asked(rollout) or _own(rollout, actor, now)
        case Verb.PROMOTE_NOW:
            return _hurry(rollout, actor, now)


def _asked(rollout: Rollout) -> str:
    try:
        waits_for_people(rollout)
    except PhaseForbids:
        return "no_approval"
    return ""


def _own(rollout: Rollout, actor: str, now: datetime) -> str:
    try:
        told = approved(rollout, actor, "", now)
    except Denied:
        return "author"
    return "said" if told == rollout else ""


def _hurry(rollout: Rollout, actor: str, now: datetime) -> str:
    try:
        hurried(rollout, actor, "", now)
    except PhaseForbids:
        return "nothing_ahead"
    return "people" if blockers(rollout, actor, automatic=False) else ""


def _way_back(rollout: Rollout, before: State, after: State, now: State) -> Json | None:
    """The label that a promotion moved and that still stands there."""
    if rollout.kind not in _MOVERS or not (rollout.phase.live or rollout.phase is Phase.SUCCEEDED):
        return None
    for model in rollout.models:
        old, new, here = before.get(model), after.get(model), now.get(model)
        if old is None or new is None or here is None:
            continue
        moved = sorted(
            name
            for name, version in new.labels.items()
            if old.labels.get(name, version) != version == here.labels.get(name)
        )
        if moved:
            label = rollout.label if rollout.label in moved else moved[0]
            return {"model": model, "label": label}
    return None
