"""The rules about what goes out: each test fails when its rule is broken."""

from dataclasses import replace

from control_plane.domain.action import Blocked, Cause, Reload, Wait
from control_plane.domain.assignment import Traits
from control_plane.domain.observed import Observed, Presence
from control_plane.domain.state import Ability, Able, State
from tests.unit.planning import (
    ALL,
    NOW,
    assigned,
    config,
    domain,
    entry,
    failed,
    plan,
    pushed,
    running,
    seen,
    strange,
    there,
    want,
)

AVAILABLE, LOADING, START, END = State.AVAILABLE, State.LOADING, State.START, State.END
COMING = seen(LOADING, NOW - 5, able=Able(Ability.PROVEN))  # it did answer, once
ONE = running(config(m=entry("m", 1, stable=1)), {"m": {1: AVAILABLE}})
BOTH = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: AVAILABLE, 2: AVAILABLE}})


# Rule 1: a label only on a version observed AVAILABLE


def test_a_label_does_not_move_to_a_version_that_is_loading() -> None:
    loading = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: AVAILABLE, 2: COMING}})
    assert isinstance(plan(assigned(m=want("m", 1, 2, stable=2)), loading).action, Wait)


def test_a_label_moves_when_its_version_is_available_and_has_answered() -> None:
    assert pushed(plan(assigned(m=want("m", 1, 2, stable=2)), BOTH)) == {
        "m": ({1, 2}, {"stable": 2})
    }


def test_a_label_whose_version_is_gone_is_left_out_and_not_re_pointed() -> None:
    gone = running(
        config(m=entry("m", 1, 2, stable=1, canary=2)),
        {"m": {1: seen(END), 2: AVAILABLE}},
    )
    decided = plan(assigned(m=want("m", 1, 2, stable=1, canary=2), n=want("n", 1)), gone)
    assert pushed(decided)["m"] == ({1, 2}, {"canary": 2})


def test_the_labels_flag_does_not_let_a_label_move_to_a_version_that_is_not_available() -> None:
    loading = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: AVAILABLE, 2: COMING}})
    decided = plan(assigned(Traits(labels_flag=True), m=want("m", 1, 2, stable=2)), loading)
    assert not isinstance(decided.action, Reload)


# Rule 2: no config drops a labelled version


def test_the_old_version_is_dropped_only_after_its_label_has_moved_and_was_verified() -> None:
    wanted = assigned(m=want("m", 2, stable=2))
    assert pushed(plan(wanted, BOTH)) == {"m": ({1, 2}, {"stable": 2})}
    moved = running(config(m=entry("m", 1, 2, stable=2)), {"m": {1: AVAILABLE, 2: AVAILABLE}})
    assert pushed(plan(wanted, moved)) == {"m": ({2}, {"stable": 2})}


def test_an_undeployed_model_loses_its_labels_first() -> None:
    both = running(
        config(m=entry("m", 1, stable=1), n=entry("n", 1)),
        {"m": {1: AVAILABLE}, "n": {1: AVAILABLE}},
    )
    assert pushed(plan(assigned(n=want("n", 1)), both)) == {"m": ({1}, {}), "n": ({1}, {})}
    bare = running(
        config(m=entry("m", 1), n=entry("n", 1)), {"m": {1: AVAILABLE}, "n": {1: AVAILABLE}}
    )
    assert pushed(plan(assigned(n=want("n", 1)), bare)) == {"n": ({1}, {})}


def test_a_name_is_not_taken_out_while_a_version_of_it_is_starting() -> None:
    starting = running(
        config(m=entry("m", 1), n=entry("n", 1)), {"m": {1: seen(START, NOW)}, "n": {1: AVAILABLE}}
    )
    assert isinstance(plan(assigned(n=want("n", 1)), starting).action, Wait)


# Rule 3: add first, drop last


def test_a_new_version_is_loaded_beside_the_old_one() -> None:
    assert pushed(plan(assigned(m=want("m", 2, stable=1)), ONE)) == {"m": ({1, 2}, {"stable": 1})}


def test_the_old_version_stays_while_the_new_one_is_loading() -> None:
    loading = running(config(m=entry("m", 1, 2)), {"m": {1: AVAILABLE, 2: COMING}})
    assert isinstance(plan(assigned(m=want("m", 2)), loading).action, Wait)


def test_a_failed_version_goes_and_the_old_one_stays() -> None:
    bad = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: AVAILABLE, 2: failed()}})
    assert pushed(plan(assigned(m=want("m", 1, stable=1)), bad)) == {"m": ({1}, {"stable": 1})}


# Rule 4: only complete versions go out


def test_a_version_that_is_not_complete_does_not_go_out() -> None:
    storage = there(m=Presence(True, frozenset({1}), {2: "no variables.index"}))
    decided = plan(assigned(m=want("m", 1, 2, stable=1)), ONE, storage)
    assert isinstance(decided.action, Blocked)
    assert (decided.action.cause, "no variables.index" in decided.sentence) == (
        Cause.FILES_MISSING,
        True,
    )


def test_a_broken_version_is_told_from_a_missing_one() -> None:
    broken = Presence(True, frozenset({1}), {2: "does not parse"}, frozenset({2}))
    action = plan(assigned(m=want("m", 1, 2, stable=1)), ONE, there(m=broken)).action
    assert isinstance(action, Blocked)
    assert action.cause is Cause.FILES_BROKEN


def test_at_most_eight_names_are_added_by_one_push_labelled_ones_first() -> None:
    wanted = {f"m{n}": want(f"m{n}", 1) for n in range(12)} | {"z": want("z", 1, stable=1)}
    sent = pushed(plan(assigned(**wanted), strange({})))
    assert (len(sent), "z" in sent) == (8, True)


def test_versions_of_names_that_are_there_load_in_one_push_however_many() -> None:
    names = [f"m{n}" for n in range(12)]
    there = running(
        config(**{name: entry(name, 1) for name in names}), {name: {1: AVAILABLE} for name in names}
    )
    sent = pushed(plan(assigned(**{name: want(name, 1, 2) for name in names}), there))
    assert [versions for versions, _ in sent.values()] == [{1, 2}] * 12


def test_new_names_share_the_push_of_a_load_but_wait_for_a_drop() -> None:
    up = {"m": {1: AVAILABLE}, "n": {1: AVAILABLE}}
    there = running(config(m=entry("m", 1), n=entry("n", 1)), up)
    wanted = {"m": want("m", 1, 2), "o": want("o", 1)}
    sent = pushed(plan(assigned(**wanted, n=want("n", 1)), there))
    assert sent == {"m": ({1, 2}, {}), "n": ({1}, {}), "o": ({1}, {})}
    assert pushed(plan(assigned(**wanted), there)) == {"m": ({1, 2}, {}), "n": ({1}, {})}


def test_what_storage_does_not_show_goes_out_alone() -> None:
    wanted = assigned(Traits(opaque=True), a=want("a", 1), b=want("b", 1))
    assert set(pushed(plan(wanted, strange({}), {"a": Presence(), "b": Presence()}))) == {"a"}
    seen_one = there("a", b=Presence())
    assert set(pushed(plan(assigned(a=want("a", 1), b=want("b", 1)), strange({}), seen_one))) == {
        "a"
    }


def test_nothing_else_is_added_while_a_rollout_stands_between_load_and_verify() -> None:
    wanted = assigned(
        m=replace(want("m", 1, 2, stable=2), moving=True), n=want("n", 1), o=want("o", 1, 2)
    )
    waiting = running(
        config(m=entry("m", 1, 2, stable=1), o=entry("o", 1)),
        {"m": {1: AVAILABLE, 2: seen(AVAILABLE, able=None)}, "o": {1: AVAILABLE}},
    )
    assert isinstance(plan(wanted, waiting).action, Wait)


# Rule 5: label moves and drops look at no storage


def test_label_moves_and_drops_need_no_look_at_storage() -> None:
    planner = domain("planner")
    for wanted in (want("m", 1, 2, stable=2), want("m", 1, stable=1)):
        decided = planner.plan_server(assigned(m=wanted), BOTH, None, NOW)
        assert isinstance(decided.action, Reload)
        assert not decided.storage_wanted


def test_a_plan_that_adds_asks_for_a_look_at_storage() -> None:
    planner = domain("planner")
    for wanted in (
        assigned(m=want("m", 1, 2, stable=1)),
        assigned(m=want("m", 1, stable=1), n=want("n", 1)),
    ):
        assert planner.plan_server(wanted, ONE, None, NOW).storage_wanted


# Rules 8 and 9: one whole config, blocked models do not stop others


def test_every_config_holds_all_models_of_the_server() -> None:
    two = running(
        config(m=entry("m", 1, stable=1), n=entry("n", 3, canary=3)),
        {"m": {1: AVAILABLE}, "n": {3: AVAILABLE}},
    )
    decided = plan(assigned(m=want("m", 1, 2, stable=1), n=want("n", 3, canary=3)), two)
    assert pushed(decided) == {"m": ({1, 2}, {"stable": 1}), "n": ({3}, {"canary": 3})}


def test_a_blocked_model_holds_what_is_live_and_the_others_go_on() -> None:
    two = running(
        config(m=entry("m", 1, 2, stable=1), n=entry("n", 1)),
        {"m": {1: AVAILABLE, 2: failed()}, "n": {1: AVAILABLE}},
    )
    decided = plan(assigned(m=want("m", 1, 2, stable=2), n=want("n", 1, 2)), two)
    assert pushed(decided) == {"m": ({1, 2}, {"stable": 1}), "n": ({1, 2}, {})}


def test_a_new_name_without_base_path_is_left_out_and_named() -> None:
    storage = there("m", n=Presence(base_path=False))
    decided = plan(assigned(m=want("m", 1, stable=1), n=want("n", 1)), ONE, storage)
    assert isinstance(decided.action, Blocked)
    assert decided.action.cause is Cause.BASE_PATH_MISSING
    assert "/models/n" in decided.action.why


def test_a_lost_base_path_stops_loads_but_not_label_moves() -> None:
    two = running(
        config(m=entry("m", 1, 2, stable=1), n=entry("n", 1)),
        {"m": {1: AVAILABLE, 2: AVAILABLE}, "n": {1: AVAILABLE}},
    )
    storage = there("m", n=Presence(base_path=False))
    loads = plan(assigned(m=want("m", 1, 2, 3, stable=1), n=want("n", 1)), two, storage)
    assert isinstance(loads.action, Blocked)
    assert "/models/n" in loads.action.why
    moves = plan(assigned(m=want("m", 1, 2, stable=2), n=want("n", 1)), two, storage)
    assert pushed(moves)["m"] == ({1, 2}, {"stable": 2})


def test_a_live_list_is_not_shortened_because_files_vanished() -> None:
    storage = there(m=Presence(True, frozenset({1}), {2: "gone"}), n=Presence(True, ALL))
    sent = pushed(plan(assigned(m=want("m", 1, 2, stable=1), n=want("n", 1)), BOTH, storage))
    assert sent["m"] == ({1, 2}, {"stable": 1})


# Rule 12: after a restart


def after_a_restart() -> Observed:
    proven = {"m": {"stable": 1}, "n": {"stable": 2}}
    return strange({}, restarted_at=NOW - 0.5, quiet_since=NOW - 0.5, proven=proven)


def test_versions_that_served_labels_come_first_after_a_restart() -> None:
    sent = pushed(plan(assigned(m=want("m", 1, 2, 3, stable=1)), after_a_restart()))
    assert sent == {"m": ({1}, {})}


def test_with_the_labels_flag_the_first_push_carries_them() -> None:
    flagged = assigned(Traits(labels_flag=True), m=want("m", 1, 2, stable=1, canary=2))
    assert pushed(plan(flagged, after_a_restart())) == {"m": ({1, 2}, {"stable": 1})}


def test_restored_labels_share_a_push_with_adds_and_need_no_proof() -> None:
    back = replace(
        running(config(m=entry("m", 1)), {"m": {1: seen(AVAILABLE, able=None)}}),
        proven={"m": {"stable": 1}},
    )
    sent = pushed(plan(assigned(m=want("m", 1, 2, stable=1), n=want("n", 1)), back))
    assert sent == {"m": ({1}, {"stable": 1}), "n": ({1}, {})}


def test_restored_labels_go_along_with_moved_ones() -> None:
    two = running(
        config(m=entry("m", 1, 2, stable=1), n=entry("n", 1)),
        {"m": {1: AVAILABLE, 2: AVAILABLE}, "n": {1: AVAILABLE}},
        proven={"m": {"stable": 1}, "n": {"stable": 1}},
    )
    wanted = assigned(m=want("m", 1, 2, stable=2), n=want("n", 1, stable=1), o=want("o", 1))
    assert pushed(plan(wanted, two)) == {"m": ({1, 2}, {"stable": 2}), "n": ({1}, {"stable": 1})}


def test_a_moved_label_shares_no_push_with_adds() -> None:
    sent = pushed(plan(assigned(m=want("m", 1, 2, stable=2), n=want("n", 1)), BOTH))
    assert sent == {"m": ({1, 2}, {"stable": 2})}


def test_a_rollback_goes_before_every_other_move() -> None:
    two = running(
        config(m=entry("m", 1, 2, stable=2), n=entry("n", 1, 2, stable=1)),
        {"m": {1: AVAILABLE, 2: AVAILABLE}, "n": {1: AVAILABLE, 2: AVAILABLE}},
    )
    urgent = replace(want("m", 1, 2, stable=1), urgent=True)
    sent = pushed(plan(assigned(m=urgent, n=want("n", 1, 2, stable=2)), two))
    assert sent == {"m": ({1, 2}, {"stable": 1}), "n": ({1, 2}, {"stable": 1})}


def test_a_group_flips_in_one_config_or_not_at_all() -> None:
    members = {
        name: replace(want(name, 1, 2, stable=2), group="g", moving=True) for name in ("m", "n")
    }
    ready = {1: AVAILABLE, 2: AVAILABLE}
    of = config(m=entry("m", 1, 2, stable=1), n=entry("n", 1, 2, stable=1))
    both = pushed(plan(assigned(**members), running(of, {"m": ready, "n": ready})))
    assert both == {"m": ({1, 2}, {"stable": 2}), "n": ({1, 2}, {"stable": 2})}
    one = running(of, {"m": ready, "n": {1: AVAILABLE, 2: COMING}})
    assert pushed(plan(assigned(**members), one)) == {}


def test_a_group_loads_at_once_when_all_that_was_dropped_of_it_has_settled() -> None:
    members = {name: replace(want(name, 1, 2), group="g") for name in ("m", "n")}
    of = config(m=entry("m", 1), n=entry("n", 1), o=entry("o", 1))
    two = running(of, {"m": {1: AVAILABLE}, "n": {1: AVAILABLE, 2: seen(END)}, "o": {1: AVAILABLE}})
    wanted, settle_s = assigned(**members, o=want("o", 1, 2)), Traits().settle_s
    early = plan(wanted, replace(two, dropped={"n": {2: NOW - settle_s + 0.1}}))
    assert [name for name, (versions, _) in pushed(early).items() if 2 in versions] == ["o"]
    late = plan(wanted, replace(two, dropped={"n": {2: NOW - settle_s - 0.1}}))
    assert [versions for versions, _ in pushed(late).values()] == [{1, 2}] * 3
