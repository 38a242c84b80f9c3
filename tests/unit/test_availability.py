"""When a version could answer, and how long loads took: from transitions alone."""

from datetime import UTC, datetime, timedelta

from control_plane.domain.availability import Present, Share, loads, shares
from control_plane.domain.events import Event, EventKind

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=24)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def moved(minutes: float, server: str, before: str, state: str, error: str = "") -> Event:
    data = {"version": 2, "state": state, "before": before, "error": error}
    return Event(EventKind.VERSION_STATE_CHANGED, at(minutes), "loop", server=server, data=data)


def status(minutes: float, server: str, before: str, now: str) -> Event:
    data = {"status": now, "before": before}
    return Event(EventKind.SERVER_STATUS_CHANGED, at(minutes), "loop", server=server, data=data)


BOTH = Present(("a", "b"), {("a", 2): "AVAILABLE", ("b", 2): "AVAILABLE"})


def test_what_no_event_tells_of_was_always_as_it_is_now() -> None:
    assert shares([], BOTH, START, END) == {2: [Share(START, END, 2)]}


def test_a_load_is_seen_from_nothing_to_every_server() -> None:
    events = [
        moved(10, "a", "", "LOADING"),
        moved(11, "a", "LOADING", "AVAILABLE"),
        moved(11, "b", "", "LOADING"),
        moved(13, "b", "LOADING", "AVAILABLE"),
    ]
    assert shares(events, BOTH, START, END)[2] == [
        Share(START, at(10), 0),
        Share(at(10), at(11), 0, moving=1),
        Share(at(11), at(13), 1, moving=1),
        Share(at(13), END, 2),
    ]


def test_a_window_that_begins_late_knows_what_held_before_it() -> None:
    events = [moved(10, "a", "", "LOADING"), moved(60, "b", "AVAILABLE", "UNLOADING")]
    gone = Present(("a", "b"), {("a", 2): "AVAILABLE", ("b", 2): "UNLOADING"})
    assert shares(events, gone, at(30), END)[2] == [
        Share(at(30), at(60), 2),
        Share(at(60), END, 1, moving=1),
    ]


def test_a_silent_server_does_not_count_as_available() -> None:
    events = [status(5, "b", "ready", "unreachable"), status(7, "b", "unreachable", "ready")]
    assert shares(events, BOTH, START, END)[2] == [
        Share(START, at(5), 2),
        Share(at(5), at(7), 1),
        Share(at(7), END, 2),
    ]
    mute = Present(("a", "b"), BOTH.states, silent=("b",))
    assert shares([], mute, START, END)[2] == [Share(START, END, 1)]


def test_a_failed_load_is_told_from_an_unload() -> None:
    events = [
        moved(1, "a", "LOADING", "END", "no saved_model.pb"),
        moved(2, "b", "UNLOADING", "END"),
    ]
    ended = Present(("a", "b"), {("a", 2): "FAILED", ("b", 2): "END"})
    assert shares(events, ended, START, END)[2] == [
        Share(START, at(1), 0, moving=2),
        Share(at(1), at(2), 0, moving=1, failed=1),
        Share(at(2), END, 0, failed=1),
    ]


def test_loads_are_timed_from_their_first_sign() -> None:
    events = [
        moved(1, "a", "", "START"),
        moved(1.5, "a", "START", "LOADING"),
        moved(2, "b", "", "LOADING"),
        moved(3, "a", "LOADING", "AVAILABLE"),
        moved(4, "b", "LOADING", "END", "corrupt"),
        moved(5, "b", "END", "AVAILABLE"),
    ]
    assert [(one.server, one.version, one.seconds) for one in loads(events)] == [("a", 2, 120.0)]
