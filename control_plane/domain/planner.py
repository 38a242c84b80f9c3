"""The planner: one decision about one server, from what is desired and what is observed.

`plan_server` first asks whether anything may be sent at all (taken over, reachable, no reload that
may still run, config not somebody else's), then merges the steps of all models into one config of
one rank. Models that wait or are blocked contribute what is live.
"""

from collections.abc import Mapping
from dataclasses import replace
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
from control_plane.domain.assignment import Assignment, Traits
from control_plane.domain.evidence import has_moved
from control_plane.domain.model_plan import ACTIVE, COMING, Ground, View, next_action
from control_plane.domain.observed import Instant, Intent, Observed, Presence
from control_plane.domain.state import Config, Marker, ModelConfig, State

ADDS_PER_PUSH = 8  # the server's config lock is held about 0.2 s for each
CALLS_THAT_MAY_RUN = 2  # each holds one of the server's few threads
GHOST_S = 60.0  # a call that was never started by then was cancelled with its caller
REFUSALS_BEFORE_BLOCKED = 5
SHORT_CALL_S = 5.0
Storage = Mapping[str, Presence]


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
    if stop := _may_not(assignment, observed, now):
        return Plan(stop, _say(stop))
    views = _views(assignment, observed, storage, now)
    actions = {name: next_action(view) for name, view in views.items()}
    actions = _whole_groups(assignment, actions)
    if not assignment.may_empty and _empties(actions, views):
        actions = _never_empty(actions, views)
    changes = _chosen(
        assignment, {n: a for n, a in actions.items() if isinstance(a, Change)}, views
    )
    notes = _notes(assignment, observed)
    wanted = storage is None and any(
        isinstance(a, Change | Blocked) and _needs_storage(a) for a in actions.values()
    )
    unclaimed = observed.verified is None and all(
        isinstance(one, Converged) for one in actions.values()
    )
    if not changes and not unclaimed:
        rest = _summary(actions, now + assignment.traits.load_budget_s)
        return Plan(rest, _say(rest), actions, notes, storage_wanted=wanted)
    push = _push(changes, views, observed)
    action = _forbidden(assignment, push, observed, now) or push
    return Plan(action, _say(action), actions, notes, storage_wanted=push.adds and wanted)


def reload_timeout_s(push: Reload, traits: Traits) -> float:
    """How long the call may stay open: its return is the best evidence where names are added."""
    if not push.names_added:
        return SHORT_CALL_S
    return SHORT_CALL_S + traits.poll_s + len(push.names_added) + traits.load_budget_s


def _may_not(assignment: Assignment, observed: Observed, now: Instant) -> Wait | Blocked | None:
    if not assignment.taken_over:
        why = "nobody took this server over; `tfsctl server take-over` does"
        return Blocked(Cause.NOT_TAKEN_OVER, why)
    if not observed.reachable:
        return Blocked(Cause.UNREACHABLE, "the server does not answer")
    if not assignment.has_revisions:
        return Blocked(Cause.NO_REVISION, "nothing was ever deployed to this fleet")
    if observed.wedged:
        return Blocked(Cause.WEDGED, f"restart the server: it answers {observed.wedged!r}")
    if observed.intent:
        return _open(observed, observed.intent, assignment.traits, now)
    if observed.other_writer_since > assignment.taken_over_at:
        why = "our marker stands beside a config that is not ours: another control plane writes, "
        why += "or this database is an old copy; if it is the right one, `tfsctl server take-over`"
        return Blocked(Cause.OTHER_WRITER, why)
    return _unsettled(assignment, observed, now)


def _unsettled(assignment: Assignment, observed: Observed, now: Instant) -> Wait | Blocked | None:
    """Undoing a foreign change at once can wedge the server for good."""
    traits = assignment.traits
    running = [
        one
        for one in observed.ghosts
        if one.sent_at > observed.cleared_at and now < one.answered_at + GHOST_S
    ]
    if len(running) >= CALLS_THAT_MAY_RUN:
        why = "two reloads went unanswered and may still run; create the path that the server waits"
        return Blocked(Cause.WEDGED, why + " for, or restart it")
    strange = observed.foreign or (
        observed.verified is None
        and not observed.restarted_at
        and any(one.state in ACTIVE for one in observed.statuses())
    )
    quiet_at = observed.quiet_since + traits.settle_s
    if strange and observed.verified is None and now < quiet_at:
        why = "the server runs a config that is not ours; waiting until nothing moves there"
        until = observed.quiet_since + traits.load_budget_s + traits.settle_s
        return Wait(why, max(until, quiet_at), look_again_s=quiet_at - now)
    return None


def _open(observed: Observed, intent: Intent, traits: Traits, now: Instant) -> Wait | Blocked:
    """What an open intent allows: nothing but waiting, or saying why it will not end."""
    awaited = {
        (name, version): observed.models.get(name, {}).get(version)
        for name in intent.names_added
        for version in intent.config.models[name].versions
    }
    seen = [one for one in awaited.values() if one is not None]
    until = intent.sent_at + reload_timeout_s(_as_reload(intent), traits) + traits.settle_s
    if any(one.state in COMING for one in seen):
        return Wait("busy: a reload waits for a load", until)
    changed = [one for one in seen if one.since > intent.sent_at]
    if awaited and not changed and now > intent.sent_at + traits.pickup_s:
        paths = ", ".join(sorted(_path(intent, name, v) for name, v in awaited))
        return Blocked(Cause.WEDGED, f"a reload waits for versions not found; create {paths}")
    if awaited and has_moved(observed, intent) and intent.answer is None:
        since = max(one.since for one in changed)
        if now > since + traits.settle_s:
            return Blocked(Cause.WEDGED, "a reload does not return though its loads ended; restart")
        return Wait("a reload is about to return", since + traits.settle_s)
    return Wait("a reload was sent; looking for its effect", until)


def _as_reload(intent: Intent) -> Reload:
    return Reload(intent.config, intent.marker, intent.names_added, "", adds=False)


def _path(intent: Intent, name: str, version: int) -> str:
    return f"{intent.config.models[name].base_path}/{version}"


def _views(
    assignment: Assignment, observed: Observed, storage: Storage | None, now: Instant
) -> dict[str, View]:
    held = {name: one for name in observed.models if (one := _held(assignment, observed, name))}
    if observed.verified:
        held = dict(observed.verified.config.models)
    missing = [
        held[name].base_path
        for name in sorted(held)
        if storage and name in storage and storage[name].base_path is False
    ]
    moving = [n for n, want in sorted(assignment.models.items()) if want.moving or want.urgent]
    ground = Ground(
        now=now,
        traits=assignment.traits,
        loading=any(one.state is State.LOADING for one in observed.statuses()),
        missing=missing[0] if missing else "",
        reserved=moving[0] if moving else "",
        sent_at=observed.verified.at if observed.verified else 0.0,
        claimed=observed.verified is not None,
    )
    marked = observed.verified is not None and not observed.marker_gone
    marked = marked and (not held or observed.verified.marker is not None)  # type: ignore[union-attr]
    return {
        name: View(
            name=name,
            want=assignment.models.get(name),
            held=held.get(name),
            labels=_labels(observed, name),
            proven=observed.proven.get(name, {}),
            seen=observed.models.get(name, {}),
            ground=ground,
            presence=storage.get(name) if storage is not None else None,
            marked=marked,
            added=observed.added.get(name, {}),
            dropped=observed.dropped.get(name, {}),
            failures=observed.failures.get(name, {}),
        )
        for name in sorted({*assignment.models, *observed.models, *held})
    }


def _labels(observed: Observed, name: str) -> Mapping[str, int]:
    if observed.verified is None:
        return observed.labels.get(name, {})
    model = observed.verified.config.models.get(name)
    return model.labels if model else {}


def _held(assignment: Assignment, observed: Observed, name: str) -> ModelConfig | None:
    """What a config that we did not write seems to hold of a model: what is not END."""
    want = assignment.models.get(name)
    alive = frozenset(
        version for version, one in observed.models[name].items() if one.state in ACTIVE
    )
    return ModelConfig(want.base_path, alive) if want and alive else None


def _whole_groups(
    assignment: Assignment, actions: dict[str, ModelAction]
) -> dict[str, ModelAction]:
    """A group's labels flip in one config or not at all."""
    behind = {
        want.group
        for name, want in assignment.models.items()
        if want.group and isinstance(actions[name], Wait | Blocked)
    }
    return {
        name: Wait("the others of its group are not ready", until=0.0)
        if isinstance(one, Change)
        and one.rank in (Rank.URGENT, Rank.MOVE)
        and name in assignment.models
        and assignment.models[name].group in behind
        else one
        for name, one in actions.items()
    }


def _chosen(
    assignment: Assignment, changes: dict[str, Change], views: Mapping[str, View]
) -> dict[str, Change]:
    """The changes that go out now: one rank, but that restored labels may share with adds."""
    reserved = next((v.ground.reserved for v in views.values()), "")
    changes = {
        name: one
        for name, one in changes.items()
        if not (reserved and name != reserved and one.rank in (Rank.LOAD, Rank.ADD))
        or not _moves(views, reserved)
    }
    if not changes:
        return {}
    best = min(one.rank for one in changes.values())
    ranks = (Rank.RESTORE, Rank.LOAD, Rank.ADD) if best is Rank.RESTORE else (best,)
    chosen = {name: one for name, one in changes.items() if one.rank in ranks}
    return _few_adds(assignment, chosen, views)


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


def _few_adds(
    assignment: Assignment, chosen: dict[str, Change], views: Mapping[str, View]
) -> dict[str, Change]:
    adds = [name for name, one in chosen.items() if one.rank in (Rank.LOAD, Rank.ADD)]
    unsure = [name for name in adds if assignment.traits.opaque or _unsure(views[name])]
    sure = sorted(set(adds) - set(unsure), key=lambda name: (not _labelled(views[name]), name))
    let = set(sure[:ADDS_PER_PUSH]) if sure else set(unsure[:1])
    return {name: one for name, one in chosen.items() if name not in adds or name in let}


def _unsure(view: View) -> bool:
    return view.presence is not None and view.presence.base_path is None


def _labelled(view: View) -> bool:
    return view.want is not None and bool(view.want.labels)


def _needs_storage(action: Change | Blocked) -> bool:
    if isinstance(action, Change):
        return action.rank in (Rank.LOAD, Rank.ADD)
    return action.cause in (Cause.POSTPONED, Cause.BASE_PATH_MISSING)


def _push(changes: Mapping[str, Change], views: Mapping[str, View], observed: Observed) -> Reload:
    models = {name: held for name, view in views.items() if (held := view.holding())}
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
    places = [
        (version not in model.labels.values(), name, version)
        for name, model in config.models.items()
        for version in model.versions
        if observed.available(name, version)
    ]
    return Marker(min(places)[1], min(places)[2]) if places else None


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
    strange = [
        f"{name} {version} failed to load and is not ours: the model may be frozen"
        for name, want in sorted(assignment.models.items())
        for version, one in sorted(observed.models.get(name, {}).items())
        if one.failed
        and version not in want.versions
        and version not in observed.added.get(name, {})
    ]
    return tuple(strange)


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
