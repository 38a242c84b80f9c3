"""Somebody else's config where ours was: what probably took it, and when ours stays away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from control_plane.domain.action import Blocked, Cause, Converged, Reload, Wait
from control_plane.domain.assignment import Assignment
from control_plane.domain.fleet import OnDrift
from control_plane.domain.observed import Flip, Look, Observed
from control_plane.domain.state import Absent, Resolved, State, VersionStatus
from tests.unit.planning import (
    LONG_AGO,
    NOW,
    Versions,
    assigned,
    config,
    domain,
    entry,
    failed,
    plan,
    running,
    seen,
    strange,
    want,
)

HELD = config(a=entry("a", 1, stable=1), b=entry("b", 1, stable=1))
UP: Mapping[str, Versions] = {"a": {1: State.AVAILABLE}, "b": {1: State.AVAILABLE}}
WANTED = assigned(a=want("a", 1, stable=1), b=want("b", 1, stable=1))
NAMES = frozenset({"a", "b"})


def flip(before_s: float, held_s: float = 500.0) -> Flip:
    return Flip(NOW - before_s, held_s, NAMES)


def taken(*flips: Flip, models: Mapping[str, Versions] = UP, **more: Any) -> Observed:
    """A server on which somebody else's config runs, quiet since long ago."""
    return replace(strange(models), foreign=True, flips=flips or (flip(5),), **more)


def policy(on_drift: OnDrift, **more: Any) -> Assignment:
    return replace(WANTED, on_drift=on_drift, **more)


def blocked(wanted: Assignment, known: Observed) -> tuple[Cause, str]:
    action = plan(wanted, known).action
    assert isinstance(action, Blocked), action
    return action.cause, action.why


def probably(known: Observed, *, rereads: bool = False) -> str:
    return str(domain("drift").cause(known, rereads=rereads))


def test_a_lost_marker_is_a_flip_that_remembers_what_was_lost() -> None:
    before = running(HELD, UP)
    assert before.verified is not None
    assert before.verified.marker is not None
    place = (before.verified.marker.model, HELD.digest_label)
    after = domain("evidence").learn(before, Look(NOW + 1, markers={place: Absent()}), 3.0)
    assert after.flips == (Flip(NOW + 1, NOW + 1 - LONG_AGO, NAMES),)


def test_a_label_that_moved_though_our_marker_stands_is_a_flip() -> None:
    before = running(HELD, UP)
    assert before.verified is not None
    assert before.verified.marker is not None
    place = (before.verified.marker.model, HELD.digest_label)
    look = Look(NOW + 1, markers={place: Resolved(1)}, labels={"b": {"stable": Resolved(2)}})
    after = domain("evidence").learn(before, look, 3.0)
    assert after.foreign
    assert len(after.flips) == 1


def test_a_restart_is_no_flip() -> None:
    after = domain("evidence").learn(running(HELD, UP), Look(NOW + 1, statuses={"a": {}}), 3.0)
    assert after.flips == ()


def test_only_the_last_flips_are_kept() -> None:
    many = replace(running(HELD, UP), flips=tuple(flip(one) for one in range(9, 4, -1)))
    assert len(domain("drift").flipped(many, NOW)) == 5
    assert domain("drift").flipped(many, NOW)[-1].at == NOW


def test_who_is_told_to_read_a_file_again_or_undoes_us_three_times_probably_does_that() -> None:
    assert probably(taken()) == "foreign writer"
    assert probably(taken(), rereads=True) == "config-file polling"
    assert probably(taken(flip(40, 9), flip(20, 9), flip(1, 9))) == "config-file polling"
    assert probably(taken(flip(40, 9), flip(20, 99), flip(1, 9))) == "foreign writer"
    assert probably(taken(flip(20, 9), flip(1, 9))) == "foreign writer"


def test_by_default_ours_goes_back_when_the_server_is_quiet() -> None:
    assert isinstance(plan(WANTED, taken()).action, Reload)
    loud = taken(quiet_since=NOW - 1)
    assert isinstance(plan(WANTED, loud).action, Wait)


def test_a_fleet_that_only_alerts_pushes_nothing_until_a_person_says_so() -> None:
    cause, why = blocked(policy("alert"), taken())
    assert cause is Cause.DRIFTED
    assert "foreign writer" in why
    assert "tfsctl server enforce" in why
    assert isinstance(plan(policy("alert", taken_over_at=NOW - 4), taken()).action, Reload)
    assert blocked(policy("alert", taken_over_at=NOW - 6), taken())[0] is Cause.DRIFTED
    assert isinstance(plan(policy("alert"), running(HELD, UP)).action, Converged)
    restarted = replace(strange({}), restarted_at=NOW - 1)
    assert isinstance(plan(policy("alert"), restarted).action, Reload)


def test_three_flips_in_a_minute_pause_and_two_do_not() -> None:
    assert isinstance(plan(WANTED, taken(flip(61), flip(30), flip(0.5))).action, Reload)
    cause, why = blocked(WANTED, taken(flip(50, 9), flip(30, 9), flip(0.5, 9)))
    assert cause is Cause.PAUSED
    assert "3 times in a minute (config-file polling)" in why
    said = replace(WANTED, taken_over_at=NOW - 40)
    assert isinstance(plan(said, taken(flip(50), flip(30), flip(0.5))).action, Reload)


def test_where_the_file_is_read_again_the_first_flip_that_took_a_model_away_pauses() -> None:
    rereads = replace(WANTED, rereads=True)
    without: Mapping[str, Versions] = {"a": UP["a"], "b": {1: seen(State.END)}}
    cause, why = blocked(rereads, taken(models=without))
    assert cause is Cause.PAUSED
    assert why.startswith("the server reads its config file again and again, which took b away")
    assert isinstance(plan(rereads, taken()).action, Reload)
    assert isinstance(plan(WANTED, taken(models=without)).action, Reload)


def test_what_is_taken_up_waits_until_all_of_it_was_seen_at_rest() -> None:
    def may(known: Observed, on_drift: OnDrift = "adopt") -> bool:
        return bool(domain("drift").may_adopt(policy(on_drift), known, NOW))

    assert may(taken())
    assert not may(taken(), "enforce")
    assert not may(taken(), "alert")
    assert not may(taken(quiet_since=NOW - 1))
    assert not may(taken(looked_at=0.0))
    assert not may(running(HELD, UP))
    assert not may(taken(adopted_at=NOW))
    assert isinstance(plan(policy("adopt"), taken(quiet_since=NOW - 1)).action, Wait)
    refused = taken(not_adopted="version 9 of a is not registered")
    assert "version 9 of a is not registered" in blocked(policy("adopt"), refused)[1]
    assert isinstance(plan(policy("adopt"), taken(adopted_at=NOW)).action, Reload)


def test_a_version_that_was_unloaded_though_our_config_holds_it_is_gone_from_storage() -> None:
    before = running(HELD, UP)

    def gone(state: State, error: str = "") -> object:
        statuses = {"b": {1: VersionStatus(state, 5 if error else 0, error)}}
        after = domain("evidence").learn(before, Look(NOW + 1, statuses=statuses), 3.0)
        return domain("drift").gone(before, after)

    assert gone(State.END) == (("b", 1),)
    assert gone(State.END, "no such file") == ()
    assert gone(State.UNLOADING) == ()
    assert gone(State.AVAILABLE) == ()
    lost = replace(before, verified=None)
    assert domain("drift").gone(before, lost) == ()
    ended = running(HELD, {"a": {1: State.AVAILABLE}, "b": {1: failed()}})
    assert domain("drift").gone(replace(ended, verified=before.verified), before) == ()
