"""What is seen on a server, as deployments."""

from control_plane.domain.adoption import against, differences
from control_plane.domain.revision import Deployment, Latest
from control_plane.domain.state import State
from tests.unit.planning import failed, strange

A = Deployment("a", frozenset({1}), {"stable": 1}, keep_previous=3)
UP, GONE = State.AVAILABLE, State.END


def test_what_differs_is_taken_as_it_is_seen() -> None:
    seen = strange(
        {"a": {1: UP, 2: UP}, "b": {7: UP, 6: failed()}, "c": {1: GONE}},
        labels={"a": {"stable": 2, "canary": 1}, "b": {"stable": 7}},
    )
    assert differences({"a": A}, seen) == {
        "a": Deployment("a", frozenset({1, 2}), {"stable": 2, "canary": 1}, keep_previous=3),
        "b": Deployment("b", frozenset({7}), {"stable": 7}),
    }


def test_what_is_the_same_stays_with_its_policy() -> None:
    followed = Deployment("a", frozenset({1}), {"stable": 1}, Latest(1))
    seen = strange({"a": {1: UP, 2: GONE}}, labels={"a": {"stable": 1}})
    assert differences({"a": followed}, seen) == {}


def test_what_is_not_loaded_any_more_is_not_deployed_any_more() -> None:
    seen = strange({"a": {1: GONE}, "b": {1: UP}})
    assert differences({"a": A}, seen)["a"] is None


def test_labels_that_dangle_and_our_markers_are_left_out() -> None:
    seen = strange({"a": {1: UP}}, labels={"a": {"stable": 2, "_cp_0123": 1}})
    (change,) = differences({"a": A}, seen).values()
    assert change == Deployment("a", frozenset({1}), {}, keep_previous=3)


def test_nothing_is_taken_while_it_moves_and_never_nothing_at_all() -> None:
    loading = strange({"a": {1: UP, 2: State.LOADING}})
    assert against({"a": A}, differences({"a": A}, loading), loading) == "a 2 is LOADING"
    empty = strange({"a": {1: GONE}})
    assert "nothing is served" in against({"a": A}, differences({"a": A}, empty), empty)
    full = strange({"b": {1: UP}})
    assert against({"a": A}, differences({"a": A}, full), full) == ""
