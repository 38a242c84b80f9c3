"""What brings a server down is suspected by what was seen last, and goes last, alone, or never."""

from dataclasses import replace

from control_plane.domain.action import Blocked, Rank, Reload
from control_plane.domain.observed import Intent, Look, Observed, Suspect, VersionSeen
from control_plane.domain.state import State
from tests.unit.planning import (
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
    want,
)

ALL_THREE = assigned(a=want("a", 1), b=want("b", 1), c=want("c", 1))


def test_suspects_are_those_that_loaded_when_the_server_ended() -> None:
    held = config(a=entry("a", 1), b=entry("b", 1), c=entry("c", 1, 2))
    states: dict[str, dict[int, State | VersionSeen]] = {
        "a": {1: State.AVAILABLE},
        "b": {1: State.START},
        "c": {1: seen(State.LOADING), 2: failed(text="no such op")},
    }
    after = restarted(running(held, states))
    assert {name: set(some) for name, some in after.suspects.items()} == {"c": {1, 2}}
    assert after.suspects["c"][1].why == "the server ended while it loaded it"
    assert after.suspects["c"][2].why == "no such op"
    after = restarted(running(held, {"a": {1: State.AVAILABLE}, "b": {1: State.START}}))
    assert {name: set(some) for name, some in after.suspects.items()} == {"b": {1}}


def restarted(before: Observed) -> Observed:
    empty = Look(NOW + 1, statuses={name: {} for name in before.models})
    after: Observed = domain("evidence").learn(before, empty, 3.0)
    return after


def test_nobody_is_suspected_for_a_restart_soon_after_a_push() -> None:
    push = Intent(config(a=entry("a", 1)), None, frozenset({"a"}), NOW - 1)
    known = {"z": {1: State.AVAILABLE}}
    assert restarted(strange(known, intent=push)).suspects == {}
    waited = replace(push, sent_at=NOW - 7)
    assert restarted(strange(known, intent=waited)).suspects["a"][1].weight == 3


def test_a_suspect_waits_until_nothing_else_is_to_be_done() -> None:
    doubtful = {"b": {1: Suspect(1, "it did", NOW - 5)}}
    empty = replace(strange({}), suspects=doubtful)
    assert pushed(plan(ALL_THREE, empty)).keys() == {"a", "c"}
    others = config(a=entry("a", 1), c=entry("c", 1))
    loading = running(others, {"a": {1: seen(State.LOADING, NOW)}, "c": {1: State.AVAILABLE}})
    assert pushed(plan(ALL_THREE, replace(loading, suspects=doubtful))) == {}
    there = running(others, {"a": {1: State.AVAILABLE}, "c": {1: State.AVAILABLE}})
    decided = plan(ALL_THREE, replace(there, suspects=doubtful))
    assert isinstance(decided.action, Reload)
    assert decided.action.names_added == {"b"}


def test_a_suspect_whose_label_is_moving_does_not_hold_up_those_that_it_waits_for() -> None:
    moves = replace(want("b", 1, 2, stable=2), moving=True)
    wanted = assigned(a=want("a", 1), b=moves)
    alone = running(config(b=entry("b", 1)), {"b": {1: State.AVAILABLE}})
    doubtful = replace(alone, suspects={"b": {2: Suspect(2, "it did", NOW - 5)}})
    assert pushed(plan(wanted, doubtful)) == {"a": ({1}, {}), "b": ({1}, {})}
    both = running(
        config(a=entry("a", 1), b=entry("b", 1)),
        {"a": {1: State.AVAILABLE}, "b": {1: State.AVAILABLE}},
    )
    doubtful = replace(both, suspects={"b": {2: Suspect(2, "it did", NOW - 5)}})
    assert pushed(plan(wanted, doubtful))["b"] == ({1, 2}, {})


def test_of_several_suspects_one_goes_at_a_time() -> None:
    all_of_them = {name: {1: Suspect(1, "it did", NOW - 5)} for name in "abc"}
    assert pushed(plan(ALL_THREE, replace(strange({}), suspects=all_of_them))).keys() == {"a"}
    both = {"a": {1: Suspect(1, "it did", NOW - 5), 2: Suspect(1, "it did", NOW - 5)}}
    two = assigned(a=want("a", 1, 2))
    assert pushed(plan(two, replace(strange({}), suspects=both))) == {"a": ({1}, {})}


def test_a_clean_version_enters_before_the_suspect_one_of_its_model() -> None:
    wanted = assigned(a=want("a", 1, 2, stable=2))
    doubtful = {"a": {2: Suspect(1, "it did", NOW - 5)}}
    assert pushed(plan(wanted, replace(strange({}), suspects=doubtful))) == {"a": ({1}, {})}
    held = running(config(a=entry("a", 1)), {"a": {1: State.AVAILABLE}})
    decided = plan(wanted, replace(held, suspects=doubtful))
    assert pushed(decided) == {"a": ({1, 2}, {})}
    change = decided.models["a"]
    assert change.rank is Rank.LOAD  # type: ignore[union-attr]
    assert change.alone  # type: ignore[union-attr]


def test_what_a_person_said_lets_off_what_was_before() -> None:
    guilty = {"a": {1: Suspect(6, "it did", NOW - 5)}}
    known = replace(strange({}), suspects=guilty)
    wanted = assigned(a=want("a", 1))
    held_back = plan(wanted, known).action
    assert isinstance(held_back, Blocked)
    assert "take-over" in held_back.why
    assert pushed(plan(replace(wanted, taken_over_at=NOW - 1), known)) == {"a": ({1}, {})}


def test_serving_clears_and_so_does_taking_it_out() -> None:
    guilty = {"a": {1: Suspect(2, "it did", NOW)}, "b": {1: Suspect(1, "it did", NOW)}}
    held = running(config(a=entry("a", 1)), {"a": {1: State.LOADING}}, suspects=guilty)
    status = domain("state").VersionStatus(State.AVAILABLE)
    look = Look(NOW + 1, statuses={"a": {1: status}})
    assert set(domain("evidence").learn(held, look, 3.0).suspects) == {"b"}
    push = Intent(config(a=entry("a", 1)), None, frozenset(), NOW)
    after = domain("evidence").sent(held, push, {}, {"a": frozenset({1})})
    assert {name for name, some in after.suspects.items() if some} == {"a"}
