"""The rules about waiting, trying again, being blocked: each test fails when its rule is broken."""

from dataclasses import replace

from control_plane.domain.action import Blocked, Cause, Converged, Reload, Wait
from control_plane.domain.assignment import Traits
from control_plane.domain.observed import Failure, Intent, Refusal
from control_plane.domain.state import Ability, Able, Config, Marker, ReloadAnswer, State
from tests.unit.planning import (
    LONG_AGO,
    NOW,
    OWNER,
    assigned,
    config,
    entry,
    failed,
    plan,
    pushed,
    running,
    seen,
    strange,
    want,
)

AVAILABLE, LOADING, START, END = State.AVAILABLE, State.LOADING, State.START, State.END
COMING = seen(LOADING, NOW - 5, able=Able(Ability.PROVEN))  # it did answer, once
ONE = running(config(m=entry("m", 1, stable=1)), {"m": {1: AVAILABLE}})
BOTH = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: AVAILABLE, 2: AVAILABLE}})


# Rule 6: re-adding waits


def test_a_dropped_version_is_added_again_only_after_settling() -> None:
    settle_s = Traits().settle_s
    dropped = replace(ONE, models={**ONE.models, "m": {1: seen(AVAILABLE), 2: seen(END)}})
    wanted = assigned(m=want("m", 1, 2, stable=1))
    early = replace(dropped, dropped={"m": {2: NOW - settle_s + 0.1}})
    assert isinstance(plan(wanted, early).action, Wait)
    late = replace(dropped, dropped={"m": {2: NOW - settle_s - 0.1}})
    assert pushed(plan(wanted, late)) == {"m": ({1, 2}, {"stable": 1})}


def test_a_version_is_not_added_again_while_it_still_unloads() -> None:
    unloading = replace(
        running(config(m=entry("m", 1)), {"m": {1: AVAILABLE, 2: seen(State.UNLOADING, NOW - 10)}}),
        dropped={"m": {2: NOW - 20}},
    )
    assert isinstance(plan(assigned(m=want("m", 1, 2)), unloading).action, Wait)


def test_nothing_is_added_again_while_an_inline_load_runs() -> None:
    dropped = replace(
        running(
            config(m=entry("m", 1), n=entry("n", 1, 2)),
            {"m": {1: AVAILABLE, 2: END}, "n": {1: AVAILABLE, 2: seen(LOADING, NOW - 1)}},
        ),
        dropped={"m": {2: LONG_AGO}},
    )
    wanted = {"m": want("m", 1, 2), "n": want("n", 1, 2)}
    assert isinstance(plan(assigned(Traits(inline_loads=True), **wanted), dropped).action, Wait)
    threads = plan(assigned(Traits(inline_loads=False), **wanted), dropped)
    assert pushed(threads)["m"] == ({1, 2}, {})


def test_a_start_that_never_moves_counts_as_ended_when_its_name_is_out() -> None:
    phantom = replace(
        running(config(n=entry("n", 1)), {"m": {1: seen(START)}, "n": {1: AVAILABLE}}),
        dropped={"m": {1: LONG_AGO}},
    )
    assert isinstance(plan(assigned(n=want("n", 1)), phantom).action, Converged)
    assert pushed(plan(assigned(n=want("n", 1), m=want("m", 1)), phantom))["m"] == ({1}, {})


def test_an_inline_load_holds_up_what_a_foreign_config_left_out_and_so_our_answer() -> None:
    there = {"m": {1: AVAILABLE}, "n": {1: AVAILABLE, 2: LOADING}}
    loads = strange(there, foreign=True)
    wanted = {"m": want("m", 1, stable=1), "n": want("n", 1, stable=1)}
    assert isinstance(plan(assigned(Traits(inline_loads=True), **wanted), loads).action, Wait)
    assert isinstance(plan(assigned(Traits(inline_loads=False), **wanted), loads).action, Reload)


def test_nothing_is_pushed_after_a_foreign_config_until_the_server_is_quiet() -> None:
    foreign = strange({"m": {1: AVAILABLE}}, foreign=True, quiet_since=NOW - 1)
    wanted = assigned(m=want("m", 1, stable=1))
    assert isinstance(plan(wanted, foreign).action, Wait)
    quiet = replace(foreign, quiet_since=LONG_AGO)
    assert pushed(plan(wanted, quiet)) == {"m": ({1}, {"stable": 1})}


# Rule 7: one reload in flight, intents


def an_intent(**more: object) -> Intent:
    fields = {"sent_at": NOW - 30, "names_added": frozenset({"n"})} | more
    return Intent(config(m=entry("m", 1, stable=1), n=entry("n", 1)), Marker("m", 1), **fields)  # type: ignore[arg-type]


def test_nothing_is_pushed_while_an_intent_is_open() -> None:
    wanted = assigned(m=want("m", 1, 2, stable=1))
    short = an_intent(names_added=frozenset[str](), sent_at=NOW - 0.1)
    assert isinstance(plan(wanted, replace(ONE, intent=short)).action, Wait)


def test_a_reload_whose_new_name_shows_nothing_is_wedged_and_names_the_path() -> None:
    action = plan(assigned(m=want("m", 1, stable=1)), replace(ONE, intent=an_intent())).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.WEDGED
    assert "/models/n/1" in action.why


def test_a_reload_whose_new_name_is_loading_is_busy() -> None:
    busy = replace(
        ONE, intent=an_intent(), models={**ONE.models, "n": {1: seen(LOADING, NOW - 20)}}
    )
    assert isinstance(plan(assigned(m=want("m", 1, stable=1)), busy).action, Wait)


def test_a_reload_that_does_not_return_after_its_loads_is_wedged_until_a_restart() -> None:
    stuck = replace(
        ONE, intent=an_intent(), models={**ONE.models, "n": {1: seen(AVAILABLE, NOW - 20)}}
    )
    action = plan(assigned(m=want("m", 1, stable=1)), stuck).action
    assert isinstance(action, Blocked)
    assert "restart" in action.why


def test_at_most_two_calls_may_still_run() -> None:
    def ghost(ago_s: float) -> Intent:
        lost = ReloadAnswer("DEADLINE_EXCEEDED")
        return an_intent(answer=lost, sent_at=NOW - ago_s, answered_at=NOW - ago_s + 5)

    wanted = assigned(m=want("m", 1, 2, stable=1))
    one = replace(ONE, ghosts=(ghost(20),))
    assert pushed(plan(wanted, one)) != {}
    two = replace(ONE, ghosts=(ghost(30), ghost(20)))
    assert isinstance(plan(wanted, two).action, Blocked)
    cleared = replace(two, cleared_at=NOW - 1)
    assert pushed(plan(wanted, cleared)) != {}


def test_a_server_that_names_a_model_we_did_not_send_is_wedged() -> None:
    wedged = replace(ONE, wedged="Illegal setting neither …, model name is x")
    action = plan(assigned(m=want("m", 1, 2, stable=1)), wedged).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.WEDGED


# Rule 10: unreachable, failed, finished, stale


def test_an_unreachable_server_is_not_an_empty_one() -> None:
    action = plan(assigned(m=want("m", 1)), replace(ONE, reachable=False)).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.UNREACHABLE


def test_an_end_with_an_error_is_a_failed_load() -> None:
    bad = running(config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: failed()}})
    action = plan(assigned(m=want("m", 1, 2)), bad).action
    assert isinstance(action, Blocked)
    assert (action.cause, "bad variables" in action.why) == (Cause.LOAD_FAILED, True)


def test_an_end_from_before_the_push_says_nothing_yet() -> None:
    stale = running(config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: failed(since=NOW - 60)}})
    added = replace(stale, added={"m": {2: NOW - 1}})
    assert isinstance(plan(assigned(m=want("m", 1, 2)), added).action, Wait)
    changed = replace(added, models={"m": {1: seen(AVAILABLE), 2: failed(since=NOW - 0.5)}})
    assert isinstance(plan(assigned(m=want("m", 1, 2)), changed).action, Blocked)


# Rule 11: what is never pushed


def test_nothing_is_pushed_to_a_server_that_was_not_taken_over() -> None:
    action = plan(replace(assigned(m=want("m", 1, 2)), taken_over=False), ONE).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.NOT_TAKEN_OVER


def test_a_database_without_revisions_pushes_nothing() -> None:
    serving = strange({"m": {1: AVAILABLE}})
    action = plan(replace(assigned(), has_revisions=False, may_empty=True), serving).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.NO_REVISION


def test_the_empty_list_goes_out_only_after_an_undeploy() -> None:
    bare = running(config(m=entry("m", 1)), {"m": {1: AVAILABLE}})
    assert not isinstance(plan(assigned(), bare).action, Reload)
    assert not isinstance(plan(assigned(), strange({})).action, Reload)
    decided = plan(replace(assigned(), may_empty=True), bare)
    assert isinstance(decided.action, Reload)
    assert decided.action.config == Config()


# Rule 13: trying again


def test_a_version_that_served_before_is_dropped_to_be_loaded_again() -> None:
    bad = running(
        config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: failed(since=NOW - 60, served=True)}}
    )
    once = replace(bad, failures={"m": {2: Failure(1, NOW - 60)}})
    assert pushed(plan(assigned(m=want("m", 1, 2)), once)) == {"m": ({1}, {})}
    too_soon = replace(bad, failures={"m": {2: Failure(1, NOW - 1)}})
    assert isinstance(plan(assigned(m=want("m", 1, 2)), too_soon).action, Wait)
    often = replace(bad, failures={"m": {2: Failure(6, NOW - 1000)}})
    assert isinstance(plan(assigned(m=want("m", 1, 2)), often).action, Blocked)


def test_a_version_that_serves_elsewhere_is_tried_again_too() -> None:
    bad = running(config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: failed(since=NOW - 60)}})
    tried = replace(bad, failures={"m": {2: Failure(1, NOW - 60)}})
    elsewhere = replace(want("m", 1, 2), elsewhere=frozenset({2}))
    assert pushed(plan(assigned(m=elsewhere), tried)) == {"m": ({1}, {})}


def test_the_name_goes_out_when_its_only_version_is_tried_again() -> None:
    bad = running(
        config(m=entry("m", 1), n=entry("n", 1)),
        {"m": {1: failed(since=NOW - 60, served=True)}, "n": {1: AVAILABLE}},
        failures={"m": {1: Failure(1, NOW - 60)}},
    )
    assert pushed(plan(assigned(m=want("m", 1), n=want("n", 1)), bad)) == {"n": ({1}, {})}


# Rule 14: converged or blocked


def test_converged_means_verified_equal_and_everything_else_ended() -> None:
    wanted = assigned(m=want("m", 1, stable=1))
    assert isinstance(plan(wanted, ONE).action, Converged)
    left = replace(ONE, models={"m": {1: seen(AVAILABLE), 2: seen(AVAILABLE, NOW - 1)}})
    assert isinstance(plan(wanted, left).action, Wait)
    unmarked = strange({"m": {1: AVAILABLE}}, labels={"m": {"stable": 1}})
    assert pushed(plan(wanted, unmarked)) == {"m": ({1}, {"stable": 1})}


def test_a_listed_version_that_shows_nothing_is_postponed() -> None:
    nothing = running(config(m=entry("m", 1, 3)), {"m": {1: AVAILABLE}})
    action = plan(assigned(m=want("m", 1, 3)), nothing).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.POSTPONED
    fresh = replace(nothing, added={"m": {3: NOW - 2}})
    assert isinstance(plan(assigned(m=want("m", 1, 3)), fresh).action, Wait)


def test_every_wait_ends() -> None:
    loading = running(config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: seen(LOADING, NOW - 5)}})
    wanted = assigned(m=want("m", 1, 2))
    action = plan(wanted, loading).action
    assert isinstance(action, Wait)
    assert NOW < action.until < float("inf")
    assert isinstance(plan(wanted, loading, now=action.until + 1).action, Blocked)


def test_a_failed_version_that_is_not_ours_is_reported() -> None:
    odd = running(config(m=entry("m", 1)), {"m": {1: AVAILABLE, 9: failed()}})
    decided = plan(assigned(m=want("m", 1)), odd)
    assert "may be frozen" in decided.notes[0]


def test_a_refused_config_is_tried_again_later_and_then_blocks() -> None:
    digest = config(m=entry("m", 1, 2, stable=2)).digest
    wanted = assigned(m=want("m", 1, 2, stable=2))
    assert isinstance(
        plan(wanted, replace(BOTH, refusal=Refusal(digest, "no", 1, NOW - 0.5))).action, Wait
    )
    assert pushed(plan(wanted, replace(BOTH, refusal=Refusal(digest, "no", 1, NOW - 5)))) != {}
    assert isinstance(
        plan(wanted, replace(BOTH, refusal=Refusal(digest, "no", 5, NOW - 500))).action, Blocked
    )


# Able to answer, markers


def test_a_label_waits_until_its_version_has_answered_one_request() -> None:
    for able, expected in (
        (None, Wait),
        (Able(Ability.RETRY), Wait),
        (Able(Ability.UNABLE, "no variables"), Blocked),
        (Able(Ability.UNPROVEN), Reload),
        (Able(Ability.PROVEN), Reload),
    ):
        fresh = seen(AVAILABLE, NOW - 1, able=able)
        silent = replace(BOTH, models={"m": {1: seen(AVAILABLE), 2: fresh}})
        assert isinstance(plan(assigned(m=want("m", 1, 2, stable=2)), silent).action, expected)


def test_markers_stand_on_a_labelled_available_version_that_stays() -> None:
    decided = plan(assigned(m=want("m", 1, 2, stable=2)), BOTH)
    assert isinstance(decided.action, Reload)
    assert decided.action.marker == Marker("m", 2)
    first = plan(assigned(m=want("m", 1)), strange({})).action
    assert isinstance(first, Reload)
    assert first.marker is None


def test_our_owner_marker_beside_a_foreign_digest_stops_everything() -> None:
    ours, doubted = assigned(m=want("m", 1, 2)), replace(ONE, verified=None, other_writer_since=NOW)
    action = plan(ours, doubted).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.OTHER_WRITER
    assert OWNER.startswith("_cp_owner_")


def test_a_person_says_which_of_two_writers_is_the_right_one() -> None:
    ours, doubted = assigned(m=want("m", 1, 2)), replace(ONE, verified=None, other_writer_since=NOW)
    told = plan(replace(ours, taken_over_at=NOW + 1), doubted).action
    assert not isinstance(told, Blocked)
    again = replace(doubted, other_writer_since=NOW + 2)
    assert isinstance(plan(replace(ours, taken_over_at=NOW + 1), again).action, Blocked)
