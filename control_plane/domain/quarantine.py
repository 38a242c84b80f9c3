"""Versions that bring a server down: found by what was seen last, held back so that others move.

A version that was LOADING when the server ended, or for which a reload waited in vain until
somebody restarted it, is a suspect there. Suspects are added last and alone, one at a time, so that
the next end names the one; after `ENOUGH` it is held back until a person says so. Serving clears.
"""

from collections.abc import Mapping
from typing import TypeAlias

from control_plane.domain.action import Blocked, Cause, Change, ModelAction, Rank, Wait
from control_plane.domain.assignment import Assignment
from control_plane.domain.observed import Instant, Intent, Observed, Suspect
from control_plane.domain.state import State

ENOUGH = 6  # three ends while it loaded, or two after a reload that waited for it in vain
CRASHED, HUNG = 2, 3
HINT = 1  # it failed, or its push had no effect: it goes alone, and is never held back for that
Suspects: TypeAlias = Mapping[str, Mapping[int, Suspect]]
_LATE = (Rank.DROP, Rank.MARK)  # what need not be done before a suspect is tried


def after_end(observed: Observed, now: Instant, settle_s: float) -> Suspects:
    """Return the suspects of a process that has ended: those before, and those of its end."""
    found = {name: dict(some) for name, some in observed.suspects.items()}
    for name, versions in observed.models.items():
        for version, one in versions.items():
            if one.failed and not one.served:
                _hint(found, name, version, one.error, now)
    crashed = _in_state(observed, State.LOADING) or _in_state(observed, State.START)
    for name, version in crashed:
        _blame(found, name, version, CRASHED, "the server ended while it loaded it", now)
    if not crashed:
        for name, version in _waited_for(observed, settle_s):
            why = "a reload waited for it until the server ended"
            _blame(found, name, version, HUNG, why, now)
    return found


def after_void(observed: Observed, intent: Intent, now: Instant) -> Suspects:
    """Return the suspects when an intent is void of which no marker could tell whether it hung.

    Its names go alone from now on. That is no reason to hold one back: the push may be what got
    lost, and not the server.
    """
    found = {name: dict(some) for name, some in observed.suspects.items()}
    if intent.marker is not None:
        return found
    for name in unmoved(observed, intent):
        for version in intent.config.models[name].versions:
            why = "a reload with it was never seen to have an effect"
            _hint(found, name, version, why, now)
    return found


def _blame(
    found: dict[str, dict[int, Suspect]],
    name: str,
    version: int,
    weight: int,
    why: str,
    at: Instant,
) -> None:
    some = found.setdefault(name, {})
    before = some[version].weight if version in some else 0
    some[version] = Suspect(before + weight, why, at)


def _hint(
    found: dict[str, dict[int, Suspect]], name: str, version: int, why: str, at: Instant
) -> None:
    if version not in found.get(name, {}):
        _blame(found, name, version, HINT, why, at)


def _in_state(observed: Observed, state: State) -> list[tuple[str, int]]:
    """Versions that were in this state when it was last looked at, and that our config holds."""
    held = [one.config for one in (observed.intent, observed.verified) if one is not None]
    return [
        (name, version)
        for name, versions in observed.models.items()
        for version, one in versions.items()
        if one.state is state
        and any(name in c.models and version in c.models[name].versions for c in held)
    ]


def _waited_for(observed: Observed, settle_s: float) -> list[tuple[str, int]]:
    """What the open intent had waited for in vain: its new names of which nothing ever showed."""
    intent = observed.intent
    if intent is None or observed.at < intent.sent_at + 2 * settle_s:
        return []
    return [
        (name, version)
        for name in sorted(unmoved(observed, intent))
        for version in sorted(intent.config.models[name].versions)
    ]


def unmoved(observed: Observed, intent: Intent) -> frozenset[str]:
    """Return the new names of a push of which no wanted version has changed since it was sent."""
    return frozenset(
        name
        for name in intent.names_added
        if not any(
            one.since > intent.sent_at
            for version, one in observed.models.get(name, {}).items()
            if version in intent.config.models[name].versions
        )
    )


def cleared(observed: Observed) -> Suspects:
    """Return the suspects without those that serve: they were innocent, or are well again."""
    kept = {
        name: {v: one for v, one in some.items() if not observed.available(name, v)}
        for name, some in observed.suspects.items()
    }
    return {name: some for name, some in kept.items() if some}


def since(suspects: Mapping[int, Suspect], said_at: Instant) -> Mapping[int, Suspect]:
    """Return those that nobody has let off: a person's word covers all that was before it."""
    if not suspects:
        return suspects
    return {version: one for version, one in suspects.items() if one.at > said_at}


def pick(
    name: str, suspects: Mapping[int, Suspect], *choices: frozenset[int]
) -> tuple[frozenset[int], bool] | Blocked:
    """Choose what to add of a model: all that is clean of the first choice that has any.

    Else one suspect, which goes alone (then the answer's second part is True). Blocked: what is
    left is held back.
    """
    for versions in choices:
        if clean := versions - suspects.keys():
            return clean, False
    left = sorted(next(versions for versions in choices if versions))
    tried = [version for version in left if suspects[version].weight < ENOUGH]
    if tried:
        return frozenset(tried[:1]), True
    why = f"{name} {left[0]} is held back so that the others move: {suspects[left[0]].why}, again"
    return Blocked(Cause.QUARANTINED, f"{why} and again; `tfsctl server take-over` tries it anew")


def suspects_last(
    assignment: Assignment, actions: dict[str, ModelAction], until: Instant
) -> dict[str, ModelAction]:
    """Let one suspect go, and only when nothing else is to be done that it could hold up.

    Nobody waits for those of its own group: they may be waiting for it.
    """
    lone = sorted(n for n, one in actions.items() if isinstance(one, Change) and one.alone)
    if not lone:
        return actions
    busy = {n for n, one in actions.items() if n not in lone and _is_under_way(one)}
    let = [name for name in lone if all(_same_group(assignment, name, one) for one in busy)][:1]
    held = {
        name: Wait(f"its turn comes, alone: {one.why}", until)
        for name in lone
        if name not in let and isinstance(one := actions[name], Change)
    }
    return {**actions, **held}


def _is_under_way(action: ModelAction) -> bool:
    if isinstance(action, Change):
        return action.rank not in _LATE
    return isinstance(action, Wait)


def _same_group(assignment: Assignment, name: str, other: str) -> bool:
    one, two = assignment.models.get(name), assignment.models.get(other)
    return one is not None and two is not None and bool(one.group) and one.group == two.group
