"""The planner: one decision about one server, from what is desired and what is observed.

`plan_server` first asks whether anything may be sent at all (taken over, reachable, no reload that
may still run, config not somebody else's), then merges the steps of all models into one config of
one rank. Models that wait or are blocked contribute what is live.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain
from typing import assert_never

from control_plane.domain.action import (
    Blocked,
    Cause,
    Change,
    Converged,
    ModelAction,
    Plan,
    Rank,
    Reload,
    Wait,
)
from control_plane.domain.admission import may_not, reload_timeout_s
from control_plane.domain.assignment import Assignment
from control_plane.domain.model_plan import View, next_action
from control_plane.domain.observed import Instant, Observed
from control_plane.domain.quarantine import suspects_last
from control_plane.domain.room import first_drops
from control_plane.domain.server_view import Storage, steady_models, views_of
from control_plane.domain.state import Config, Marker, ModelConfig

__all__ = ["plan_server", "reload_timeout_s"]

ADDS_PER_PUSH = 8  # the server's config lock is held about 0.2 s for each
REFUSALS_BEFORE_BLOCKED = 5
_SEEN_IN_STORAGE = (Cause.POSTPONED, Cause.BASE_PATH_MISSING)


def plan_server(
    assignment: Assignment, observed: Observed, storage: Storage | None, now: Instant
) -> Plan:
    """Decide the one thing to do to this server now.

    Args:
        assignment: what it should serve.
        observed: what is known of it.
        storage: what was seen of the artifacts in this pass; None: nobody looked, so a plan that
            adds has `storage_wanted` and must be made again with it before it is carried out.
        now: POSIX seconds.
    """
    if stop := may_not(assignment, observed, now):
        return Plan(stop, _say(stop))
    steady = steady_models(assignment, observed)
    views = views_of(assignment, observed, storage, now, steady)
    actions: dict[str, ModelAction] = {name: next_action(view) for name, view in views.items()}
    actions = suspects_last(assignment, actions, now + assignment.traits.load_budget_s)
    actions = _whole_groups(assignment, actions)
    actions = _loads_together(assignment, actions)
    actions = first_drops(views, actions)
    if not (assignment.may_empty or steady) and _empties(actions, views):
        actions = _never_empty(actions, views)
    changes = _chosen(
        assignment, {n: a for n, a in actions.items() if isinstance(a, Change)}, views
    )
    notes = _notes(assignment, observed)
    wanted = storage is None and any(_needs_storage(one) for one in actions.values())
    unclaimed = observed.verified is None and all(
        isinstance(one, Converged) for one in actions.values()
    )
    actions |= dict.fromkeys(steady, Converged())
    if not changes and not unclaimed:
        rest = _summary(actions, now + assignment.traits.load_budget_s)
        return Plan(rest, _say(rest), actions, notes, storage_wanted=wanted)
    push = _push(changes, views, observed, steady)
    action = _forbidden(assignment, push, observed, now) or push
    return Plan(action, _say(action), actions, notes, storage_wanted=push.adds and wanted)


def _whole_groups(
    assignment: Assignment, actions: dict[str, ModelAction]
) -> dict[str, ModelAction]:
    """A group's labels flip in one config or not at all."""
    held = {name for name, one in actions.items() if isinstance(one, Wait | Blocked)}
    behind = {one.group for name in held if (one := assignment.models.get(name)) and one.group}
    if not behind:
        return actions
    return {
        name: Wait("the others of its group are not ready", until=0.0)
        if isinstance(one, Change)
        and one.rank in (Rank.URGENT, Rank.MOVE)
        and name in assignment.models
        and assignment.models[name].group in behind
        else one
        for name, one in actions.items()
    }


def _loads_together(
    assignment: Assignment, actions: dict[str, ModelAction]
) -> dict[str, ModelAction]:
    """What a group loads goes out at once, however short a time ago some of it was dropped."""
    settling = {
        want.group: one
        for name, one in actions.items()
        if isinstance(one, Wait) and one.settles
        if (want := assignment.models.get(name)) and want.group
    }
    if not settling:
        return actions
    return {
        name: replace(settling[assignment.models[name].group], why=f"its turn comes: {one.why}")
        if isinstance(one, Change)
        and one.rank in (Rank.LOAD, Rank.ADD)
        and assignment.models[name].group in settling
        else one
        for name, one in actions.items()
    }


def _chosen(
    assignment: Assignment, changes: dict[str, Change], views: Mapping[str, View]
) -> dict[str, Change]:
    """The changes that go out now: one rank, but for adds beside what they do not hold up."""
    reserved = next((v.ground.reserved for v in views.values()), "")
    if reserved not in changes and _goes_last(views, reserved):
        reserved = ""  # else each would wait for the other
    changes = {
        name: one
        for name, one in changes.items()
        if not (reserved and name != reserved and one.rank in (Rank.LOAD, Rank.ADD))
        or not _moves(views, reserved)
    }
    if not changes:
        return {}
    ranks = _sharing({one.rank for one in changes.values()})
    chosen = {name: one for name, one in changes.items() if one.rank in ranks}
    return _few_adds(assignment, chosen, views)


def _sharing(ranks: Collection[Rank]) -> tuple[Rank, ...]:
    """The ranks that go out in one push: the lowest there is, and what may go with it."""
    best = min(ranks)
    if best is Rank.MOVE:
        return (best, Rank.RESTORE)
    if best is Rank.RESTORE:
        return (best, Rank.LOAD, Rank.ADD)
    return (best, Rank.ADD) if best is Rank.LOAD and Rank.DROP not in ranks else (best,)


def _empties(actions: Mapping[str, ModelAction], views: Mapping[str, View]) -> bool:
    """Whether nothing is left when every name that is to go has gone."""
    leaving = {n for n, one in actions.items() if isinstance(one, Change) and one.model is None}
    return bool(leaving) and all(name in leaving for name, view in views.items() if view.held)


def _never_empty(
    actions: Mapping[str, ModelAction], views: Mapping[str, View]
) -> dict[str, ModelAction]:
    """The last names stay until others are there: no revision asked for an empty server."""
    return {
        name: _stays(one, views[name]) if isinstance(one, Change) and one.model is None else one
        for name, one in actions.items()
    }


def _stays(change: Change, view: View) -> Wait | Blocked:
    failed = [version for version, one in sorted(view.seen.items()) if one.failed]
    if view.want is not None and failed:
        why = f"{view.name} {failed[0]} failed to load: {view.seen[failed[0]].error}"
        return Blocked(Cause.LOAD_FAILED, f"{why}; the server's only model is not taken out for it")
    until = view.ground.now + view.ground.traits.load_budget_s
    return Wait(f"{change.why} when another model is there", until)


def _moves(views: Mapping[str, View], name: str) -> bool:
    """Whether the reserved model still has its labels to move."""
    view = views.get(name)
    return (
        view is not None and view.want is not None and dict(view.labels) != dict(view.want.labels)
    )


def _goes_last(views: Mapping[str, View], name: str) -> bool:
    """Whether the model's next version is a suspect, which lets all others go first."""
    step = next_action(views[name]) if name in views else None
    return isinstance(step, Change) and step.alone


def _few_adds(
    assignment: Assignment, chosen: dict[str, Change], views: Mapping[str, View]
) -> dict[str, Change]:
    """Without those that must wait for another push; one that storage does not show goes alone."""
    adds = [name for name, one in chosen.items() if one.rank in (Rank.LOAD, Rank.ADD)]
    unsure = [name for name in adds if assignment.traits.opaque or _unsure(views[name])]
    sure = sorted(set(adds) - set(unsure), key=lambda name: (not _labelled(views[name]), name))
    names = [name for name in sure if chosen[name].rank is Rank.ADD]
    let = set(sure) - set(names[ADDS_PER_PUSH:]) if sure else set(unsure[:1])
    return {name: one for name, one in chosen.items() if name not in adds or name in let}


def _unsure(view: View) -> bool:
    return view.presence is not None and view.presence.base_path is None


def _labelled(view: View) -> bool:
    return view.want is not None and bool(view.want.labels)


def _needs_storage(action: ModelAction) -> bool:
    if isinstance(action, Change):
        return action.rank in (Rank.LOAD, Rank.ADD)
    return isinstance(action, Blocked) and action.cause in _SEEN_IN_STORAGE


def _push(
    changes: Mapping[str, Change],
    views: Mapping[str, View],
    observed: Observed,
    steady: Mapping[str, ModelConfig],
) -> Reload:
    others = ((name, view.holding()) for name, view in views.items() if name not in changes)
    models = {name: held for name, held in others if held} | dict(steady)
    for name, change in changes.items():
        if change.model is None:
            models.pop(name, None)
        else:
            models[name] = change.model
    config = Config(models)
    names = frozenset(name for name, one in changes.items() if one.rank is Rank.ADD)
    why = "; ".join(one.why for _, one in sorted(changes.items()))
    adds = any(one.rank in (Rank.LOAD, Rank.ADD) for one in changes.values())
    return Reload(config, _marker(config, observed), names, why, adds)


def _marker(config: Config, observed: Observed) -> Marker | None:
    """An AVAILABLE version that stays, a labelled one if there is one."""
    models = sorted(config.models.items())
    labelled = ((name, frozenset(one.labels.values()) & one.versions) for name, one in models)
    listed = ((name, one.versions) for name, one in models)
    for name, versions in chain(labelled, listed):
        there = [version for version in versions if observed.available(name, version)]
        if there:
            return Marker(name, min(there))
    return None


def _forbidden(
    assignment: Assignment, push: Reload, observed: Observed, now: Instant
) -> Wait | Blocked | None:
    if not push.config.models and not assignment.may_empty:
        return Blocked(Cause.NO_REVISION, "the empty config goes out only after an undeploy")
    last = observed.refusal
    if last is None or last.digest != push.config.digest:
        return None
    if last.count >= REFUSALS_BEFORE_BLOCKED:
        return Blocked(Cause.REFUSED, f"the server refuses this config: {last.text}")
    due = last.at + 2.0 ** (last.count - 1)
    if now < due:
        until = due + assignment.traits.load_budget_s
        return Wait(f"the server refused: {last.text}", until, look_again_s=due - now)
    return None


def _summary(actions: Mapping[str, ModelAction], until: Instant) -> Wait | Blocked | Converged:
    """Blocked before Wait before Converged; the wait that ends first."""
    blocked = [one for one in actions.values() if isinstance(one, Blocked)]
    waits = [one for one in actions.values() if isinstance(one, Wait)]
    held = [one for one in actions.values() if isinstance(one, Change)]
    if blocked and not held:
        return blocked[0]
    waits += [Wait(f"its turn comes: {one.why}", until) for one in held]
    if not waits:
        return Converged()
    again = [one.look_again_s for one in waits if one.look_again_s]
    return replace(min(waits, key=lambda one: one.until), look_again_s=min(again, default=0.0))


def _notes(assignment: Assignment, observed: Observed) -> tuple[str, ...]:
    """A failed version that nobody here asked for may have frozen its model's list for good."""
    if not observed.verified:
        return ()
    failed = [
        (name, version)
        for name, versions in observed.models.items()
        for version, one in versions.items()
        if one.error_code and one.failed
    ]
    return tuple(
        f"{name} {version} failed to load and is not ours: the model may be frozen"
        for name, version in sorted(failed)
        if (want := assignment.models.get(name)) is not None
        and version not in want.versions
        and version not in observed.added.get(name, {})
    )


def _say(action: Reload | Wait | Blocked | Converged) -> str:
    match action:
        case Reload():
            return action.why
        case Wait():
            return f"waiting: {action.why}"
        case Blocked():
            return f"blocked ({action.cause}): {action.why}"
        case Converged():
            return "converged"
        case _:
            assert_never(action)
