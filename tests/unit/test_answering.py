"""Which version answered a label, from events as the journal has them."""

from datetime import UTC, datetime, timedelta

from control_plane.domain.answering import answering, changed, intervals
from control_plane.domain.events import Event, EventKind
from control_plane.domain.observed import Observed, Verified, VersionSeen
from control_plane.domain.state import Config, ModelConfig, State

T0 = datetime(2026, 1, 1, 14, 0, tzinfo=UTC)


def at(minute: int) -> datetime:
    return T0 + timedelta(minutes=minute)


def answered(minute: int, server: str, version: int | None, label: str = "stable") -> Event:
    data = {"label": label, "version": version, "before": None}
    kind = EventKind.LABEL_ANSWERED
    return Event(kind, at(minute), "loop", model="m", server=server, data=data)


def revised(minute: int, number: int, actor: str, **labels: int) -> Event:
    data = {"kind": "promote", "changes": {"m": {"versions": [1], "labels": labels}}}
    kind = EventKind.REVISION_CREATED
    return Event(kind, at(minute), actor, revision=number, reason=f"why {number}", data=data)


def status(minute: int, server: str, text: str) -> Event:
    kind = EventKind.SERVER_STATUS_CHANGED
    return Event(kind, at(minute), "loop", server=server, data={"status": text})


def test_each_version_has_who_moved_the_label_there_and_where_it_answered() -> None:
    events = (
        revised(0, 1, "ada", stable=1),
        answered(1, "a", 1),
        answered(2, "b", 1),
        revised(3, 2, "eve", stable=2),
        answered(4, "a", 2),
        answered(6, "b", 2),
    )
    new, old = intervals(events, "m", "stable")
    assert (old.version, old.since, old.until) == (1, at(1), at(6))
    assert (new.version, new.since, new.until) == (2, at(4), None)
    assert (old.mover.revision, old.mover.actor, new.mover.actor) == (1, "ada", "eve")
    assert new.mover.reason == "why 2"
    then = {
        one.version: [span.server for span in now.spans]
        for one in (new, old)
        if (now := one.at(at(5))) is not None
    }
    assert then == {2: ["a"], 1: ["b"]}
    assert old.at(at(6)) is None


def test_a_server_that_does_not_answer_counts_for_nothing_meanwhile() -> None:
    events = (answered(0, "a", 1), status(2, "a", "unreachable"), status(5, "a", "ready"))
    late, early = intervals(events, "m", "stable")
    assert (early.since, early.until) == (at(0), at(2))
    assert (late.since, late.until) == (at(5), None)


def test_a_version_that_no_revision_of_ours_named_has_no_mover() -> None:
    (only,) = intervals((revised(0, 1, "ada", stable=1), answered(1, "a", 7)), "m", "stable")
    assert (only.version, only.mover.revision, only.mover.actor) == (7, None, "")


def test_a_revision_that_leaves_the_label_alone_moved_nothing() -> None:
    events = (
        revised(0, 1, "ada", stable=1),
        revised(1, 2, "eve", stable=1, canary=2),
        answered(2, "a", 1),
    )
    (only,) = intervals(events, "m", "stable")
    assert only.mover.revision == 1


def test_other_labels_are_another_story() -> None:
    assert intervals((answered(0, "a", 2, "canary"),), "m", "stable") == ()


def test_a_removed_server_answers_no_more() -> None:
    gone = Event(EventKind.SERVER_REMOVED, at(3), "ada", server="a")
    (only,) = intervals((answered(0, "a", 1), gone), "m", "stable")
    assert only.until == at(3)


def test_a_label_answers_only_with_a_version_that_is_available() -> None:
    config = Config({"m": ModelConfig("/m", frozenset({1, 2}), {"stable": 1, "canary": 2})})
    seen = Observed(
        models={"m": {1: VersionSeen(State.AVAILABLE, 0.0), 2: VersionSeen(State.LOADING, 0.0)}},
        verified=Verified(config, None, 0.0),
    )
    assert answering(seen) == {("m", "stable"): 1}
    assert list(changed(answering(Observed()), answering(seen))) == [("m", "stable", None, 1)]
