"""Which runs a rollout calls for, in which order, and how its moments stand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Hook, Moment, Stand
from control_plane.domain.hook_document import check
from control_plane.domain.hook_runs import (
    Planned,
    Run,
    RunState,
    Situation,
    event_run,
    facts,
    moments_beside,
    moments_between,
    planned,
    planned_late,
    planned_run,
    startable,
    waits_for,
)
from control_plane.domain.moments import loaded_late
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE = {"m": Deployment("m", frozenset({1}), {"stable": 1})}
AFTER = {"m": Deployment("m", frozenset({2}), {"stable": 2})}
STEPS = (StepName.LOAD, StepName.PROMOTE, StepName.RETIRE)


def hook(name: str, moment: str, **more: Any) -> Hook:
    return check({"name": name, "moment": moment, "http": {"url": "http://h/"}} | more)


def rollout(done: int, *, running: bool = False, kind: Kind = Kind.PROMOTE) -> Rollout:
    """A rollout with so many steps done, the next one begun or not."""
    steps = tuple(
        Step(
            name,
            Phase.SUCCEEDED if number < done else Phase.PENDING,
            ("a", "b") if number < done + running else (),
            NOW if number < done + running else None,
        )
        for number, name in enumerate(STEPS)
    )
    return Rollout(
        id="r1",
        fleet="default",
        models=("m",),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PROGRESSING,
        sentence="",
        steps=steps,
        created_at=NOW,
        deadline_at=NOW,
        actor="ada",
        reason="why not",
        label="stable",
    )


def test_what_goes_first_for_want_of_memory_has_its_pre_stop_then_and_once() -> None:
    before, after = {"m": serving(0, 1, stable=1)}, {"m": serving(2, stable=2)}
    hooks = [hook("stop", "before_unload")]

    def called(done: int) -> tuple[tuple[str, int | None], ...]:
        plain = rollout(done)
        load = replace(plain.steps[0], spec={"room": {"m": [0]}})
        here = replace(plain, steps=(load, *plain.steps[1:]))
        situation = Situation(here, before, after, frozenset({"a"}))
        runs = planned(hooks, situation, moments_between(here, NOW))
        return tuple((one.id_for("r1"), one.version) for one in runs)

    (first,), later = called(0), called(2)
    assert first[1] == 0
    assert [version for _, version in later] == [0, 1]
    assert first in later


def serving(*versions: int, **labels: int) -> Deployment:
    return Deployment("m", frozenset(versions), labels)


def at(done: int, *, running: bool = False) -> Situation:
    return Situation(rollout(done, running=running), BEFORE, AFTER, frozenset({"a", "b"}))


def plan(done: int, *hooks: Hook, running: bool = False) -> tuple[Planned, ...]:
    where = at(done, running=running)
    return planned(hooks, where, moments_between(where.rollout, NOW))


def ran(some: Mapping[str, Run] | tuple[Planned, ...], state: RunState) -> dict[str, Run]:
    runs = some.values() if isinstance(some, Mapping) else [_run(one) for one in some]
    return {one.id: replace(one, state=state, sentence="answered 500") for one in runs}


def _run(one: Planned) -> Run:
    return planned_run(one, rollout(0), NOW)


def names(some: list[Planned] | tuple[Planned, ...]) -> list[tuple[str, int | None, str]]:
    return [(one.hook.name, one.version, one.server) for one in some]


def test_each_moment_is_about_its_own_versions() -> None:
    every = [hook(str(one), str(one), scope="rollout") for one in list(Moment)[:6]]
    seen = [names(plan(done, *every)) for done in range(4)]
    assert seen == [
        [("before_load", 2, "")],
        [("after_load", 2, ""), ("before_promote", 2, "")],
        [("after_promote", 2, ""), ("before_unload", 1, "")],
        [("after_unload", 1, "")],
    ]


def test_a_hook_of_servers_runs_once_on_each_that_counts() -> None:
    assert names(plan(1, hook("init", "after_load"))) == [("init", 2, "a"), ("init", 2, "b")]


def test_a_hook_of_another_model_is_not_called_for() -> None:
    assert plan(1, hook("init", "after_load", model="other")) == ()


def test_while_a_step_runs_the_moments_at_its_end_are_pending() -> None:
    coming = plan(0, hook("init", "after_load"), running=True)
    assert {moment: one.stand for moment, one in facts(coming, {}, "r1").items()} == {
        Moment.AFTER_LOAD: Stand.PENDING
    }


def test_what_has_nothing_to_do_holds_nothing() -> None:
    same = Situation(rollout(1), AFTER, AFTER, frozenset({"a"}))
    assert planned([hook("init", "after_load")], same, [Moment.AFTER_LOAD]) == ()


def test_a_moment_comes_after_the_one_before_it() -> None:
    both = plan(1, hook("init", "after_load"), hook("ask", "before_promote"))
    assert names(startable(both, {}, "r1")) == [("init", 2, "a"), ("init", 2, "b")]
    running = ran(both[:2], RunState.RUNNING)
    assert startable(both, running, "r1") == []
    done = ran(both[:2], RunState.SUCCEEDED)
    assert names(startable(both, done, "r1")) == [("ask", 2, "")]


def test_lower_orders_go_first_on_each_server_by_itself() -> None:
    both = plan(1, hook("second", "after_load", order=2), hook("first", "after_load", order=1))
    assert names(startable(both, {}, "r1")) == [("first", 2, "a"), ("first", 2, "b")]
    on_a = ran(tuple(one for one in both if one.hook.name == "first"), RunState.RUNNING)
    on_a |= ran(tuple(one for one in both[:1]), RunState.SUCCEEDED)
    assert names(startable(both, on_a, "r1")) == [("second", 2, "a")]


def test_a_hook_of_the_rollout_waits_for_every_server() -> None:
    both = plan(1, hook("each", "after_load"), hook("all", "after_load", order=1, scope="rollout"))
    half = ran(both[:1], RunState.SUCCEEDED) | ran(both[1:2], RunState.RUNNING)
    assert startable(both, half, "r1") == []
    assert names(startable(both, ran(both[:2], RunState.SUCCEEDED), "r1")) == [("all", 2, "")]


def test_a_failure_that_aborts_fails_its_moment_and_starts_nothing_more() -> None:
    both = plan(1, hook("first", "after_load"), hook("second", "after_load", order=1))
    failed = ran(both[:1], RunState.FAILED) | ran(both[1:2], RunState.SUCCEEDED)
    fact = facts(both, failed, "r1")[Moment.AFTER_LOAD]
    assert (fact.stand, fact.sentence) == (Stand.FAILED, "first on a failed: answered 500")
    assert names(startable(both, failed, "r1")) == [("second", 2, "b")]


def test_a_failure_that_continues_is_as_good_as_done() -> None:
    stop = plan(2, hook("stop", "before_unload"))
    assert facts(stop, ran(stop, RunState.FAILED), "r1")[Moment.BEFORE_UNLOAD].stand is Stand.DONE


def test_the_same_run_has_the_same_id_and_every_other_one_another() -> None:
    runs = plan(1, hook("init", "after_load"), hook("ask", "before_promote"))
    ids = [one.id_for("r1") for one in runs]
    assert len(set(ids)) == 3
    again = plan(1, hook("init", "after_load", order=9), hook("ask", "before_promote"))
    assert {one.id_for("r1") for one in again} == set(ids)
    assert not {one.id_for("r2") for one in again} & set(ids)


def test_a_hook_is_told_what_it_is_for() -> None:
    body = _run(plan(1, hook("init", "after_load"))[0]).body
    assert {name: value for name, value in body.items() if name != "id"} == {
        "moment": "after_load",
        "fleet": "default",
        "model": "m",
        "version": 2,
        "server": "a",
        "rollout": "r1",
        "label": "stable",
        "actor": "ada",
        "reason": "why not",
    }


def test_a_rollback_has_its_moments_beside_it() -> None:
    back = rollout(0, kind=Kind.ROLLBACK)

    def beside(kind: EventKind, **data: str) -> tuple[Moment, ...]:
        return moments_beside(back, Event(kind, NOW, "ada", data=data))

    moved = beside(EventKind.ROLLOUT_STEP_ENDED, step="promote")
    assert moved == (Moment.AFTER_LOAD, Moment.AFTER_PROMOTE)
    assert beside(EventKind.ROLLOUT_STEP_STARTED, step="retire") == (Moment.BEFORE_UNLOAD,)
    assert beside(EventKind.ROLLOUT_ENDED, phase="succeeded") == ()
    assert beside(EventKind.ROLLOUT_ENDED, phase="failed") == (Moment.ON_FAILURE,)


def test_a_promotion_that_ends_badly_has_one_moment_left() -> None:
    event = Event(EventKind.ROLLOUT_ENDED, NOW, "ada", data={"phase": "rolled_back"})
    assert moments_beside(rollout(2), event) == (Moment.ON_FAILURE,)
    step = Event(EventKind.ROLLOUT_STEP_ENDED, NOW, "ada", data={"step": "promote"})
    assert moments_beside(rollout(2), step) == ()


def test_an_event_is_told_whole_and_once() -> None:
    one = hook("tell", "on_event", events=["label.verified"])
    event = Event(EventKind.LABEL_VERIFIED, NOW, "ada", "default", "m", data={"version": 2}, seq=7)
    run = event_run(one, event, NOW)
    assert (run.version, run.rollout, run.body["event"]["kind"]) == (2, "", "label.verified")
    assert run.id == event_run(one, event, NOW).id
    assert run.id != event_run(one, replace(event, seq=8), NOW).id


def test_what_is_run_anew_after_a_restart_keeps_its_order() -> None:
    both = plan(1, hook("first", "after_load"), hook("second", "after_load", order=1))
    first, other, second = _run(both[0]), _run(both[1]), _run(both[2])
    assert waits_for(second, first)
    assert not waits_for(second, other)
    assert not waits_for(first, second)


def test_a_load_is_late_when_its_moment_is_over_and_its_server_still_belongs_to_the_rollout() -> (
    None
):
    loaded = [replace(one, ended_at=NOW) if one.begun else one for one in rollout(1).steps]
    live = replace(rollout(1), steps=tuple(loaded))
    done = replace(live, phase=Phase.SUCCEEDED, laggards=("b",))

    def late(on: Rollout, server: str = "b", after_s: float = 1, state: str = "AVAILABLE") -> bool:
        at, data = NOW + timedelta(seconds=after_s), {"state": state, "version": 2}
        kind = EventKind.VERSION_STATE_CHANGED
        return loaded_late(on, Event(kind, at, "ada", "default", "m", server, data=data))

    assert late(live)
    assert not late(live, after_s=-1)
    assert not late(live, state="LOADING")
    assert not late(rollout(0, running=True))
    assert late(done)
    assert not late(done, server="a")
    assert not late(replace(live, kind=Kind.ROLLBACK))
    assert not late(replace(done, phase=Phase.FAILED))


def test_a_late_load_has_a_run_of_its_own_where_the_first_one_was_lost() -> None:
    both = (hook("init", "after_load"), hook("once", "after_load", scope="rollout"))
    data = {"state": "AVAILABLE", "version": 2}
    kind = EventKind.VERSION_STATE_CHANGED
    event = Event(kind, NOW, "ada", "default", "m", "b", data=data, seq=7)
    (first,) = planned_late(both, at(1), event, ())
    assert names((first,)) == [("init", 2, "b")]
    assert first in plan(1, *both)
    (again,) = planned_late(both, at(1), event, {first.id_for("r1")})
    assert again.id_for("r1") != first.id_for("r1")
    over = replace(at(1), rollout=replace(rollout(1), phase=Phase.SUCCEEDED))
    assert planned_late(both, over, event, {first.id_for("r1")}) == ()
    kept = replace(event, data=data | {"version": 1})
    assert planned_late(both, at(1), kept, ()) == ()
