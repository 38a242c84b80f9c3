"""Whether anything may be sent to a server now, and if not, what is waited for."""

from control_plane.domain.action import Blocked, Cause, Reload, Wait
from control_plane.domain.assignment import Assignment, Traits
from control_plane.domain.drift import held
from control_plane.domain.evidence import has_moved
from control_plane.domain.model_plan import ACTIVE, COMING
from control_plane.domain.observed import Instant, Intent, Observed
from control_plane.domain.quarantine import unmoved
from control_plane.domain.state import State

CALLS_THAT_MAY_RUN = 2  # each holds one of the server's few threads
GHOST_S = 60.0  # a call that was never started by then was cancelled with its caller
SHORT_CALL_S = 5.0


def reload_timeout_s(push: Reload, traits: Traits) -> float:
    """How long the call may stay open: its return is the best evidence where names are added."""
    if not push.names_added:
        return SHORT_CALL_S
    return SHORT_CALL_S + traits.poll_s + len(push.names_added) + traits.load_budget_s


def may_not(assignment: Assignment, observed: Observed, now: Instant) -> Wait | Blocked | None:
    """Say why nothing may be sent now; None: the planner decides."""
    if not assignment.taken_over:
        why = "nobody took this server over; `tfsctl server take-over` does" + _losses(
            assignment, observed
        )
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
    if stop := held(assignment, observed, now):
        return stop
    return _unsettled(assignment, observed, now)


def _losses(assignment: Assignment, observed: Observed) -> str:
    """What a server serves that it would not serve any more if it were taken over."""
    lost = [
        f"{name} {version}"
        for name, versions in sorted(observed.models.items())
        for version, one in sorted(versions.items())
        if one.state in ACTIVE and name not in assignment.models
    ]
    return f", and drops {', '.join(lost)}, which this fleet does not deploy" if lost else ""


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
    if traits.inline_loads and any(one.state is State.LOADING for one in observed.statuses()):
        quiet_at = max(quiet_at, now + traits.poll_s)  # a load holds up what theirs left out
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
    loading = [f"{name} {v}" for (name, v), one in awaited.items() if one and one.state in COMING]
    if loading:
        return Wait(f"busy: a reload waits for {', '.join(sorted(loading))} to load", until)
    changed = [one for one in seen if one.since > intent.sent_at]
    still_since = max((one.since for one in changed), default=intent.sent_at)
    never = unmoved(observed, intent)
    if never and now > still_since + traits.pickup_s:
        paths = ", ".join(sorted(_path(intent, name, v) for name, v in awaited if name in never))
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
