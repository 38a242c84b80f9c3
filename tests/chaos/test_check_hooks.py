"""The checker of hooks against histories made by hand: each bad one breaks one promise."""

from collections.abc import Callable

import pytest

from tests.chaos.check_hooks import check_hooks
from tests.chaos.story import MODEL, Story

ASK, TELL = "ask", "tell"


def hooked(end: str = "succeeded") -> Story:
    """Two hooks, and a promotion for which both have to run."""
    story = Story()
    for name, moment in ((ASK, "before_promote"), (TELL, "on_event")):
        story.event("hook.created", {"hook": name, "moment": moment}, model=MODEL)
    story.revision([1, 2], 2).started("r1")
    return story.event("rollout.ended", {"phase": end}, rollout="r1", model=MODEL)


def ran(story: Story, name: str, run: str, state: str = "succeeded") -> Story:
    if name == ASK and state == "succeeded":
        ended(story, run)
    return silent(story, name, run, state)


def silent(story: Story, name: str, run: str, state: str = "succeeded") -> Story:
    told = {"name": name, "rollout": "r1", "state": state, "request_id": run}
    return story.tell("runner", "hook.run", run=told, hook={"name": name})


def ended(story: Story, run: str) -> Story:
    return story.event("hook.ended", {"request_id": run})


def asked(story: Story, run: str) -> Story:
    return story.tell("runner", "hook.asked", id=run, rollout="r1")


def good() -> Story:
    story = asked(ran(hooked(), ASK, "1"), "1")
    return asked(asked(ran(story, TELL, "2"), "2"), "2")  # twice under one id


def test_good_histories_have_no_violations() -> None:
    assert list(check_hooks(good().lines)) == []
    failed = asked(ran(hooked("failed"), TELL, "2"), "2")  # it did not come to the other one
    assert list(check_hooks(failed.lines)) == []


@pytest.mark.parametrize(
    ("invariant", "story"),
    [
        ("S16", lambda: asked(good(), "3")),  # tried, and never written down
        ("S16", lambda: asked(ran(ran(hooked(), ASK, "1"), TELL, "2"), "2")),  # never tried
        ("S16", lambda: asked(ran(hooked(), TELL, "2"), "2")),  # left out
        ("S16", lambda: asked(ran(hooked(), ASK, "1"), "1")),  # nobody was told of the end
        ("S16", lambda: asked(ran(good(), ASK, "3"), "3")),  # two runs for one moment
        ("S16", lambda: asked(ran(good(), TELL, "3"), "3")),  # two runs for one event
        ("S16", lambda: ended(good(), "1")),  # two ends of one run
        ("S16", lambda: asked(asked(ran(silent(hooked(), ASK, "1"), TELL, "2"), "2"), "1")),
        ("L7", lambda: ran(asked(good(), "3"), "late", "3", "running")),
    ],
)
def test_each_bad_history_breaks_its_promise(invariant: str, story: Callable[[], Story]) -> None:
    assert [one.invariant for one in check_hooks(story().lines)] == [invariant]
