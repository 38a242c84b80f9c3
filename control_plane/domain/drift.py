"""Somebody else's config where ours was: what it probably was, and whether ours goes back.

Our config can be seen to be gone, never who took it. A person's word (`tfsctl server enforce`, or
taking the server over again) covers all that was before it.
"""

import enum
from dataclasses import replace

from control_plane.domain.action import Blocked, Cause, Wait
from control_plane.domain.assignment import Assignment
from control_plane.domain.observed import Flip, Instant, Observed
from control_plane.domain.state import State

FLIPS_THAT_PAUSE, WITHIN_S = 3, 60.0
SHORT_S = 60.0  # a config that stands so briefly, again and again, is undone by a machine
FLIPS_KEPT = 5
_ENFORCE = "`tfsctl server enforce` puts ours back"
_LOADED = (State.START, State.LOADING, State.AVAILABLE)


class Probably(enum.StrEnum):
    """What took our config away, or a part of what it says; nobody can be sure."""

    RESTART = "restart"
    FILE_POLLING = "config-file polling"
    WRITER = "foreign writer"
    DELETED = "directory deleted"


BY_OTHERS = (Probably.FILE_POLLING, Probably.WRITER)


def flipped(observed: Observed, at: Instant) -> tuple[Flip, ...]:
    """Return the flips with one that was seen now."""
    verified = observed.verified
    if verified is None:
        return observed.flips
    held_s, names = at - verified.at, frozenset(verified.config.models)
    return (*observed.flips, Flip(at, held_s, names))[-FLIPS_KEPT:]


def cause(observed: Observed, *, rereads: bool) -> Probably:
    """Return what probably replaced our config last."""
    last = observed.flips[-FLIPS_THAT_PAUSE:]
    often = len(last) == FLIPS_THAT_PAUSE and all(one.held_s < SHORT_S for one in last)
    return Probably.FILE_POLLING if rereads or often else Probably.WRITER


def gone(before: Observed, after: Observed) -> tuple[tuple[str, int], ...]:
    """Return versions of the config in force that were unloaded though it holds them.

    A server does that when their directory is not there any more.
    """
    verified = after.verified
    if verified is None or before.verified is not verified:
        return ()
    return tuple(
        (name, version)
        for name, model in sorted(verified.config.models.items())
        for version in sorted(model.versions)
        if _unloaded(after, name, version) and _alive(before, name, version)
    )


def _unloaded(observed: Observed, name: str, version: int) -> bool:
    one = observed.models.get(name, {}).get(version)
    return one is not None and one.state is State.END and not one.failed


def _alive(observed: Observed, name: str, version: int) -> bool:
    one = observed.models.get(name, {}).get(version)
    return one is not None and one.state in (State.AVAILABLE, State.UNLOADING)


def held(assignment: Assignment, observed: Observed, now: Instant) -> Wait | Blocked | None:
    """Say why our config does not go back where somebody else's runs; None: it does."""
    said_at = max(assignment.taken_over_at, observed.adopted_at)
    flips = tuple(one for one in observed.flips if one.at > said_at)
    if observed.verified is not None or not observed.foreign or not flips:
        return None
    if assignment.on_drift == "adopt":
        return _to_adopt(assignment, observed, now)
    which = cause(replace(observed, flips=flips), rereads=assignment.rereads)
    if assignment.on_drift == "alert":
        why = f"somebody else's config runs there ({which}), and this fleet only says so"
        return Blocked(Cause.DRIFTED, f"{why}; {_ENFORCE}")
    if why := _pauses(assignment, observed, flips):
        return Blocked(Cause.PAUSED, f"{why}; end that, then {_ENFORCE}")
    return None


def _to_adopt(assignment: Assignment, observed: Observed, now: Instant) -> Wait | Blocked:
    quiet_at = observed.quiet_since + assignment.traits.settle_s
    if now < quiet_at:
        why = "somebody else's config runs there; it is taken up when nothing moves any more"
        until = observed.quiet_since + assignment.traits.load_budget_s
        return Wait(why, max(until, quiet_at), look_again_s=quiet_at - now)
    why = "somebody else's config runs there and is not taken up"
    reason = f": {observed.not_adopted}" if observed.not_adopted else " yet"
    return Blocked(Cause.DRIFTED, f"{why}{reason}; {_ENFORCE}")


def may_adopt(assignment: Assignment, observed: Observed, now: Instant) -> bool:
    """Whether what runs there may become what is desired: all of it was seen, and it is quiet."""
    held_up = held(assignment, observed, now)
    told = isinstance(held_up, Blocked) and assignment.on_drift == "adopt"
    return told and observed.reachable and observed.looked_at > 0 and observed.intent is None


def _pauses(assignment: Assignment, observed: Observed, flips: tuple[Flip, ...]) -> str:
    """Why putting ours back would only go on for ever, or wedge the server."""
    recent = [one for one in flips if one.at > flips[-1].at - WITHIN_S]
    if len(recent) >= FLIPS_THAT_PAUSE:
        which = cause(observed, rereads=assignment.rereads)
        return f"our config was replaced {len(recent)} times in a minute ({which})"
    gone = sorted(
        name
        for name in flips[-1].names & assignment.models.keys()
        if not any(one.state in _LOADED for one in observed.models.get(name, {}).values())
    )
    if assignment.rereads and gone:
        words = "the server reads its config file again and again, which took"
        return f"{words} {', '.join(gone)} away"
    return ""
