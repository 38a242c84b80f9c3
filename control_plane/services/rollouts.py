"""Look at rollouts and steer them."""

import enum
from dataclasses import replace
from datetime import timedelta
from typing import Final

from control_plane.domain.advance import ended
from control_plane.domain.errors import FieldInvalid, GateBlocked, PhaseForbids
from control_plane.domain.events import Event, EventKind
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.steering import (
    approved,
    blockers,
    hurried,
    still_waited_for,
    unfrozen,
    waits_for_people,
)
from control_plane.failpoints import failpoint
from control_plane.services import freezes
from control_plane.services.changes import (
    DEADLINE_S,
    Call,
    Change,
    Ground,
    Started,
    on_ground,
    true_state,
)
from control_plane.services.commit import Commit, nothing_more
from control_plane.services.strategies import find_edit
from control_plane.services.transitions import around, record, rollout_event
from control_plane.store import journal, rollouts
from control_plane.store.database import Database, Page, Paged, Session


class Verb(enum.StrEnum):
    """What a person can tell a rollout."""

    PAUSE = "pause"  # start no further step; the one under way is finished on the servers
    RESUME = "resume"
    ABORT = "abort"  # end it and go back
    RETRY = "retry"  # give a live one its whole time again; start one that failed once more
    APPROVE = "approve"  # say yes, once per person
    REJECT = "reject"  # say no, where it waits for a yes: end it and go back
    PROMOTE_NOW = "promote-now"  # wait for no bake, gate or approval before labels moved everywhere


_PAST_GATES: Final = (Verb.RESUME, Verb.RETRY, Verb.PROMOTE_NOW)


async def show(db: Database, id_: str) -> Rollout:
    """Return a rollout."""
    async with db.glance() as s:
        return await rollouts.rollout(s, id_)


async def listed(
    db: Database, page: Page, *, fleet: str = "", model: str = "", phase: str = ""
) -> Paged[Rollout]:
    """Return rollouts, the newest first; "" stands for any."""
    async with db.read() as s:
        return await rollouts.rollouts(s, page, fleet=fleet, model=model, phase=phase)


async def steer(
    db: Database, id_: str, verb: Verb, call: Call, commit: Commit[Rollout] = nothing_more
) -> Rollout:
    """Tell a rollout something and return how it stands, or the new one that a retry started.

    Raises:
        NotFound: no such rollout.
        PhaseForbids: it is over, or not in a phase where this means something.
        Denied: its author may not approve it.
        Frozen, GateBlocked: it may not go on past what it waits for, or not without breaking glass.
    """
    if call.break_glass and verb not in _PAST_GATES:
        raise FieldInvalid("break_glass", f"goes with {', '.join(_PAST_GATES)} only")
    if call.break_glass:
        freezes.may_break(call)
    fleet = (await show(db, id_)).fleet
    async with on_ground(db, fleet, replace(call, dry_run=False)) as (s, ground):
        rollout = await rollouts.rollout(s, id_)
        steered = await _steer(s, ground, rollout, verb, call)
        await commit(s, steered)
        await failpoint("steer.before_commit")
    await failpoint("steer.committed")
    return steered


async def _steer(s: Session, ground: Ground, rollout: Rollout, verb: Verb, call: Call) -> Rollout:
    match verb:
        case Verb.ABORT:
            return await _abort(s, rollout, call)
        case Verb.RETRY if not rollout.phase.live:
            return await _again(s, ground, rollout, call)
        case Verb.PAUSE | Verb.RESUME | Verb.RETRY:
            return await _changed(s, rollout, verb, call)
        case Verb.APPROVE:
            return await _approve(s, rollout, call)
        case Verb.REJECT:
            waits_for_people(rollout)
            await journal.append(s, _event(EventKind.ROLLOUT_REJECTED, rollout, verb, call))
            return await _abort(s, rollout, call, "rejected")
        case Verb.PROMOTE_NOW:
            return await _hurry(s, rollout, call)


async def _approve(s: Session, rollout: Rollout, call: Call) -> Rollout:
    told = approved(rollout, call.actor, call.reason, call.now)
    if told == rollout:
        return rollout
    saved = await rollouts.save(s, rollout, told)
    await journal.append(s, _event(EventKind.ROLLOUT_APPROVED, rollout, Verb.APPROVE, call))
    return saved


async def _hurry(s: Session, rollout: Rollout, call: Call) -> Rollout:
    told, skipped = hurried(rollout, call.actor, call.reason or call.break_glass, call.now)
    if not call.break_glass:
        freezes.refuse_frozen(rollout, still_waited_for(rollout), call)
        if found := blockers(rollout, call.actor, automatic=call.automatic):
            hint = "others approve, or a person gives break_glass, which says why it cannot wait"
            raise GateBlocked(found[0]["sentence"], hint=hint, blockers=found)
    saved = await rollouts.save(s, rollout, told)
    event = _event(EventKind.ROLLOUT_HURRIED, rollout, Verb.PROMOTE_NOW, call)
    await journal.append(s, replace(event, data={**event.data, "skipped": skipped}))
    if call.break_glass:
        await freezes.say_broken(s, rollout, skipped, call)
    return saved


async def _abort(s: Session, rollout: Rollout, call: Call, verb: str = "aborted") -> Rollout:
    if not rollout.phase.live:
        raise _over(rollout)
    why = f"{verb} by {call.actor}" + (f": {call.reason}" if call.reason else "")
    over = ended(rollout, Phase.ABORTED, why, call.now)
    events = tuple(replace(one, actor=call.actor, reason=call.reason) for one in over.events)
    return await record(s, rollout, replace(over, events=events), call.writer)


def _over(rollout: Rollout) -> PhaseForbids:
    return PhaseForbids(f"rollout {rollout.id} is over: {rollout.phase}", phase=rollout.phase)


_TOLD: Final = {
    Verb.PAUSE: (Phase.PAUSED, EventKind.ROLLOUT_PAUSED, "paused by"),
    Verb.RESUME: (Phase.PROGRESSING, EventKind.ROLLOUT_RESUMED, "resumed by"),
    Verb.RETRY: (Phase.PROGRESSING, EventKind.ROLLOUT_RESUMED, "tried again by"),
}


async def _changed(s: Session, rollout: Rollout, verb: Verb, call: Call) -> Rollout:
    if not rollout.phase.live:
        raise _over(rollout)
    if (verb is Verb.RESUME) != (rollout.phase is Phase.PAUSED):
        raise PhaseForbids(f"rollout {rollout.id} is {rollout.phase}", phase=rollout.phase)
    phase, kind, words = _TOLD[verb]
    told = replace(rollout, phase=phase, sentence=f"{words} {call.actor}")
    if verb is not Verb.PAUSE:
        late = call.now + timedelta(seconds=DEADLINE_S)
        told = replace(told, deadline_at=max(rollout.deadline_at, late))
    gates: list[str] = []
    if call.break_glass:
        told, gates = unfrozen(told, call.actor, call.break_glass, call.now)
    saved = await rollouts.save(s, rollout, told)
    await journal.append(s, _event(kind, rollout, verb, call))
    if gates:
        await freezes.say_broken(s, rollout, gates, call)
    return saved


def _event(kind: EventKind, rollout: Rollout, verb: Verb, call: Call) -> Event:
    return rollout_event(kind, rollout, call.writer, {"verb": str(verb)})


async def _again(s: Session, ground: Ground, rollout: Rollout, call: Call) -> Rollout:
    """Start a rollout that ended badly once more, unless its deployments changed since."""
    before = await true_state(s, rollout)
    if rollout.phase is Phase.SUCCEEDED or rollout.superseded_by:
        raise _over(rollout)
    if any(ground.head.get(model) != one for model, one in before.items()):
        raise PhaseForbids(f"what rollout {rollout.id} changed was changed again since")
    _, after = await around(s, rollout)
    same = await find_edit(s, rollout.strategy, rollout.strategy_number)
    change = Change(rollout.kind, rollout.models, after, rollout.label, same)
    outcome = await freezes.carry_out(s, ground, change, call)
    if not isinstance(outcome, Started):
        raise _over(rollout)
    return outcome.rollout
