"""kill -9 inside every step of a rollout and at every moment of its hooks: it ends as ever."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.databases import fresh_database, postgres_server
from tests.faults.plane import BETWEEN, FAIL, HOOKS, PLACES, Plane, running_plane
from tests.faults.processes import Zygote, eventually
from tests.faults.replica_processes import QUICK

KILLS = (
    ("load", "first wave"),
    ("before_load", "canary"),
    ("after_load", "bake"),
    ("before_promote", "gate"),
    ("approve", "last wave"),
    ("after_promote", "drain"),
    ("before_unload", "retire"),
    ("after_unload",),
)


@pytest.fixture(scope="module")
def plane(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running_plane(zygote, tmp_path_factory.mktemp("plane")) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(plane: Plane) -> Mapping[str, Any]:
    """The story of a rollout that nothing happened to."""
    return plane.story(plane.finish(plane.promote("every")))


def killed(plane: Plane, places: tuple[str, ...]) -> Any:
    """A rollout during which the control plane was killed here and there."""
    slow = {"bake", "drain", "retire"} & set(places)  # what has to be caught in time
    rollout_id = plane.promote("slow" if slow else "every", *places)
    deaths = {}
    for place in places:
        plane.bring(rollout_id, place)
        deaths[place] = plane.kill()
        plane.check_labels(place)
        plane.go_on()
    over = plane.finish(rollout_id)
    for place, at in deaths.items():
        assert any(began < at < ended for began, ended in spans(over, place)), place
    return over


def spans(rollout: Any, place: str) -> list[tuple[datetime, datetime]]:
    """From when to when a step, or the runs of a hook, were under way."""
    parts: list[Mapping[str, Any]] = [one for one in rollout["hooks"] if one["name"] == place]
    if (at := PLACES[place].at) != BETWEEN:
        parts = [rollout["steps"][at]]
    read = datetime.fromisoformat
    return [(read(one["started_at"]), read(one["ended_at"])) for one in parts]


def check_hooks(plane: Plane, over: Any, places: tuple[str, ...] = ()) -> None:
    """Every run was asked for under its id, those in which it was killed once more."""
    runs = {(one["name"], one["request_id"]) for one in over["hooks"]}
    asked = plane.asked("/gate", "/on_event")
    assert {(one.path[1:], one.headers["x-request-id"]) for one in asked} == runs
    for place in places:
        once = [one for one in runs if one[0] == place]
        assert len(plane.target.at(f"/{place}")) > len(once)


def test_every_step_and_every_hook_is_a_place_to_be_killed_in() -> None:
    assert sorted(place for places in KILLS for place in places) == sorted(PLACES)


@pytest.mark.parametrize("places", KILLS, ids=" and ".join)
def test_killed_inside_it_ends_as_it_would_have(
    plane: Plane, undisturbed: Mapping[str, Any], places: tuple[str, ...]
) -> None:
    over = killed(plane, places)
    assert plane.story(over) == undisturbed
    check_hooks(plane, over, tuple(place for place in places if place in HOOKS))


def test_on_postgresql_it_ends_the_same(
    undisturbed: Mapping[str, Any],
    zygote: Zygote,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)  # the lease of who was killed has to run out
    with (
        postgres_server() as postgres,
        fresh_database(postgres) as url,
        running_plane(zygote, tmp_path, url) as plane,
    ):
        over = killed(plane, ("before_promote", "last wave"))
        assert plane.story(over) == undisturbed
        check_hooks(plane, over, ("before_promote",))


def ended(plane: Plane, rollout_id: str, gone: int) -> Any:
    """A rollout that is over, its hooks too, when a version has gone from every server."""
    plane.finish(rollout_id)
    for server in plane.servers:
        eventually(partial(server.state, gone), "END".__eq__)

    def over(rollout: Any) -> bool:
        return all(one["ended_at"] for one in rollout["hooks"])

    return eventually(lambda: plane.control.rollout(rollout_id), over)


@pytest.mark.parametrize(("strategy", "end"), [("every", "rolled_back"), ("early", "failed")])
def test_killed_while_it_fails_and_on_its_way_back_it_ends_as_it_would_have(
    plane: Plane, strategy: str, end: str
) -> None:
    over = ended(plane, plane.promote(strategy, gate=FAIL), plane.new)
    undisturbed = plane.story(over)
    assert (over["phase"], undisturbed["servers"][0]["stable"]) == (end, "old")
    plane.failed()
    rollout_id = plane.promote(strategy, "gate", "on_failure", gate=FAIL)

    def judged(rollout: Any) -> bool:
        plane.tend(rollout)
        return bool(plane.target.at("/gate"))

    eventually(lambda: plane.control.rollout(rollout_id), judged)
    plane.stop(1)
    plane.kill()
    eventually(lambda: plane.target.at("/on_failure"), bool)
    eventually(lambda: plane.servers[0].state(plane.new), "END".__eq__)
    plane.kill()
    plane.go_on()
    over = ended(plane, rollout_id, plane.new)
    assert plane.story(over) == undisturbed
    check_hooks(plane, over, ("on_failure",))
    plane.failed()


@pytest.mark.parametrize("back_to", ["old", "older"])
def test_a_rollback_killed_on_its_way_takes_the_label_back_everywhere(
    plane: Plane, back_to: str
) -> None:
    """To a version that is loaded, when one server has it; to another one while it loads there."""
    plane.promote_at_once()
    over = ended(plane, plane.roll_back(getattr(plane, back_to)), plane.new)
    undisturbed = plane.story(over)
    assert {one["stable"] for one in undisturbed["servers"]} == {back_to}
    plane.deploy(plane.old, plane.new, stable=plane.new)
    plane.promote_at_once()
    plane.stop(1)
    target, one = getattr(plane, back_to), plane.servers[0]
    rollout_id = plane.roll_back(target)
    begun = {"old": lambda: one.label() == target, "older": lambda: one.state(target) != "END"}
    eventually(begun[back_to], bool)
    plane.kill()
    plane.go_on()
    assert plane.story(ended(plane, rollout_id, plane.new)) == undisturbed
    plane.deploy(plane.old, plane.new, stable=plane.new)
