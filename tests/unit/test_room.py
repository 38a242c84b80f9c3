"""What goes first where memory is short, and how the planner keeps to it."""

from dataclasses import replace

from control_plane.domain.action import Blocked, Cause, Plan, Reload, Wait
from control_plane.domain.assignment import Assignment
from control_plane.domain.observed import Observed
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Step, StepName
from control_plane.domain.room import Load, Room, make_room, with_room
from control_plane.domain.state import State as VersionState
from control_plane.domain.steps import steps_for
from tests.unit.planning import LONG_AGO, NOW, assigned, config, entry, plan, pushed, running, want
from tests.unit.planning import seen as status

UP, UNLOADING, END = VersionState.AVAILABLE, VersionState.UNLOADING, VersionState.END


def serving(model: str, *versions: int, **labels: int) -> Deployment:
    return Deployment(model, frozenset(versions), labels)


OLD = serving("m", 1, 2, stable=2)
OTHER = serving("n", 1, stable=1)
SIZES = {("m", v): 100 for v in range(1, 6)} | {("n", 1): 50}


def load(before: Deployment, after: Deployment, *kept: int) -> Load:
    head = {"m": before, "n": OTHER}
    return Load(head, {"m": before}, {"m": after}, {"m": frozenset(kept)}, SIZES)


def first(room: Room) -> dict[str, set[int]]:
    return {model: set(some) for model, some in room.first.items()}


def test_the_peak_holds_all_models_and_both_ends_of_the_change() -> None:
    change = load(OLD, serving("m", 2, 3, stable=3))
    assert change.peak_bytes({}) == 1.2 * 350
    assert change.peak_bytes({"m": frozenset({1})}) == 1.2 * 250


def test_nothing_goes_first_where_all_fits() -> None:
    change = load(OLD, serving("m", 2, 3, stable=3), 2)
    assert make_room(change, 420) == Room(change.after, {})


def test_what_is_dropped_at_the_end_goes_first_when_that_is_enough() -> None:
    change = load(OLD, serving("m", 2, 3, stable=3), 2)
    room = make_room(change, 419)
    assert (first(room), room.after) == ({"m": {1}}, change.after)
    assert first(make_room(change, 300)) == {"m": {1}}


def test_nothing_goes_in_vain() -> None:
    change = load(OLD, serving("m", 2, 3, stable=3), 2)
    assert make_room(change, 299) == Room(change.after, {})


def test_what_has_a_label_never_goes_first() -> None:
    change = load(serving("m", 1, 2, stable=2, canary=1), serving("m", 3, stable=3))
    assert make_room(change, 300) == Room(change.after, {})


def test_what_is_kept_for_a_way_back_is_not_kept_when_nothing_else_helps() -> None:
    change = load(OLD, serving("m", 1, 2, 3, stable=3), 1, 2)
    room = make_room(change, 419)
    assert first(room) == {"m": {1}}
    assert room.after == {"m": serving("m", 2, 3, stable=3)}


def test_what_somebody_listed_stays() -> None:
    change = load(OLD, serving("m", 1, 2, 3, stable=3), 2)
    assert make_room(change, 419) == Room(change.after, {})


def test_a_change_that_loads_nothing_makes_no_room() -> None:
    change = load(OLD, serving("m", 1, stable=1))
    assert make_room(change, 1) == Room(change.after, {})


def test_only_the_first_load_makes_room() -> None:
    steps = steps_for(Kind.PROMOTE, {"m": OLD}, {"m": serving("m", 2, 3, stable=3)})
    roomy = with_room(steps, {"m": frozenset({1})})
    assert [one.spec for one in roomy] == [{"room": {"m": [1]}}, {}, {}]
    back = (Step(StepName.PROMOTE), Step(StepName.RETIRE))
    assert with_room(back, {"m": frozenset({1})}) == back


# The planner: 1 is to go before 3 is loaded beside 2


def wanted(**others: tuple[int, ...]) -> Assignment:
    more = {name: want(name, *versions, stable=1) for name, versions in others.items()}
    roomy = replace(want("m", 2, 3, stable=2), room=frozenset({1}))
    return assigned(m=roomy, n=want("n", 1, stable=1), **more)


def held(*versions: int, one: VersionState = UP) -> Observed:
    """A server whose config holds these versions of m, and the state of 1 a second ago."""
    statuses = {v: status(UP) for v in versions} | {1: status(one, since=NOW - 1)}
    running_config = config(m=entry("m", *versions, stable=2), n=entry("n", 1, stable=1))
    return running(running_config, {"m": statuses, "n": {1: UP}})


def why(decided: Plan) -> str:
    return getattr(decided.action, "why", "")


def test_it_is_dropped_in_a_reload_of_its_own() -> None:
    decided = plan(wanted(), held(1, 2))
    assert isinstance(decided.action, Reload)
    assert pushed(decided)["m"] == ({2}, {"stable": 2})
    assert why(decided) == "drop m 1 to make room"
    assert not decided.action.adds


def test_nothing_is_loaded_until_it_is_unloaded() -> None:
    decided = plan(wanted(), held(2, one=UNLOADING))
    assert isinstance(decided.action, Wait)
    assert why(decided) == "m 1 is UNLOADING, not END yet"
    assert pushed(plan(wanted(), held(2, one=END)))["m"][0] == {2, 3}


def test_other_models_wait_with_their_loads_too() -> None:
    both = wanted(new=(1,))
    loads = assigned(**{**both.models, "n": want("n", 1, 2, stable=1)})
    for given in (both, loads):
        assert pushed(plan(given, held(1, 2))) == {
            "m": ({2}, {"stable": 2}),
            "n": ({1}, {"stable": 1}),
        }
        assert isinstance(plan(given, held(2, one=UNLOADING)).action, Wait)


def test_an_unload_that_does_not_end_is_said() -> None:
    stuck = running(
        config(m=entry("m", 2, stable=2), n=entry("n", 1, stable=1)),
        {"m": {1: status(UNLOADING, since=LONG_AGO), 2: UP}, "n": {1: UP}},
    )
    decided = plan(wanted(), stuck, now=NOW * 10)
    assert isinstance(decided.action, Blocked)
    assert decided.action.cause is Cause.UNLOAD_OVERDUE


def test_a_label_that_strayed_there_keeps_it_and_the_load_goes_on() -> None:
    strayed = running(
        config(m=entry("m", 1, 2, stable=2, odd=1), n=entry("n", 1, stable=1)),
        {"m": {1: UP, 2: UP}, "n": {1: UP}},
    )
    given = wanted()
    given = assigned(
        m=replace(given.models["m"], labels={"stable": 2, "odd": 1}), n=given.models["n"]
    )
    assert pushed(plan(given, strayed))["m"][0] == {1, 2, 3}


def test_a_server_that_has_what_is_wanted_drops_it_in_its_turn() -> None:
    decided = plan(wanted(), held(1, 2, 3))
    assert pushed(decided)["m"] == ({2, 3}, {"stable": 2})
