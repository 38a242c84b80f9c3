"""What a plan says of one server, situation by situation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from control_plane.domain.action import Blocked, Cause, Converged
from control_plane.domain.assigned import Course
from control_plane.domain.fleet import Fleet, Server
from control_plane.domain.observed import Intent, Observed, Presence
from control_plane.domain.preview import Preview, Stage, preview, previews, stages
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.state import Ability, Able, Config, State
from control_plane.domain.steps import covered, started, steps_for
from tests.unit.planning import OWNER, config, entry, failed, running, seen

AT = datetime(2026, 1, 1, tzinfo=UTC)
FLEET = Fleet("default", AT, head=1)
SERVER = Server("default", "a", "a:8500", AT, taken_over=True)
UP = State.AVAILABLE
Deployments = Mapping[str, Deployment | None]


def deployed(model: str, *versions: int, **labels: int) -> Deployment:
    return Deployment(model, frozenset(versions), labels)


def course(
    head: Sequence[Deployment],
    after: Deployments,
    kind: Kind = Kind.PROMOTE,
    steps: tuple[Step, ...] = (),
    servers: tuple[str, ...] = ("a",),
) -> Course:
    """A change of some deployments of a fleet."""
    heads = {one.model: one for one in head}
    before = {model: heads.get(model) for model in after}
    fresh = Rollout(
        id="r",
        fleet="default",
        models=tuple(after),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=steps or steps_for(kind, before, after),
        created_at=AT,
        deadline_at=AT + timedelta(minutes=13),
        actor="ada",
    )
    begun = started(fresh, covered(fresh, servers), AT)
    paths = {name: f"/models/{name}" for name in {*heads, *after}}
    return Course(FLEET, heads, (begun, before, after), (), paths, servers)


def staged(planned: Course, server: Server = SERVER) -> tuple[Stage, ...]:
    return stages(planned.goals(), server, {}, OWNER)


M1 = deployed("m", 1, stable=1)
TO_2 = course([M1], {"m": deployed("m", 1, 2, stable=2)})
AT_1 = running(config(m=entry("m", 1, stable=1)), {"m": {1: UP}})


def told(found: Preview) -> list[str]:
    return [one.why for one in found.reloads]


def test_a_version_that_is_loaded_already_takes_one_reload_that_moves_the_label() -> None:
    both = deployed("m", 1, 2, stable=1)
    there = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: UP}})
    found = preview(staged(course([both], {"m": replace(both, labels={"stable": 2})})), there)
    assert told(found) == ["m: stable → 2"]
    assert found.end == Converged()
    assert found.reloads[0].warm
    assert found.reloads[0].waits_for == ("load done on a",)


def test_a_version_that_is_not_loaded_is_loaded_before_the_label_moves() -> None:
    found = preview(staged(TO_2), AT_1)
    load, move = found.reloads
    assert [(one.step, one.why, one.warm) for one in found.reloads] == [
        ("load", "load m 2", False),
        ("promote", "m: stable → 2", True),
    ]
    assert load.loads == {("m", 2)}
    assert load.waits_for == ()
    assert move.waits_for == ("m 2 AVAILABLE", "m 2 answers one request", "load done on a")
    assert move.before == load.config


def test_what_is_not_kept_is_dropped_last_and_its_end_is_waited_for() -> None:
    found = preview(staged(course([M1], {"m": deployed("m", 2, stable=2)})), AT_1)
    assert told(found) == ["load m 2", "m: stable → 2", "drop m 1"]
    assert found.reloads[2].waits_for == ("promote done on a",)
    assert found.waits_for == ("m 1 END",)


def test_it_says_which_version_callers_without_a_label_get() -> None:
    found = preview(staged(TO_2), AT_1)
    assert [one.unlabelled for one in found.reloads] == [{"m": (1, 2)}, {"m": (2, 2)}]


def test_a_new_name_is_added_and_holds_the_config_lock() -> None:
    found = preview(staged(course([M1], {"n": deployed("n", 1, stable=1)})), AT_1)
    assert told(found) == ["add n 1", "n: stable → 1"]
    assert (found.reloads[0].names_added, found.reloads[0].lock_s) == (("n",), 0.2)
    assert found.reloads[0].unlabelled == {"n": (None, 1)}


def test_names_are_added_eight_at_a_time() -> None:
    many = {f"n{i}": deployed(f"n{i}", 1) for i in range(10)}
    found = preview(staged(course([M1], many)), AT_1)
    assert [len(one.names_added) for one in found.reloads] == [8, 2]
    assert found.reloads[0].lock_s == 1.6


def test_a_server_that_was_never_looked_at_is_planned_as_if_it_were_empty() -> None:
    found = preview(staged(course([], {"m": M1})), Observed())
    assert told(found) == ["add m 1", "mark m as ours", "m: stable → 1"]
    assert found.reloads[0].before is None
    assert found.reloads[0].config.marker is None


def test_a_server_that_does_not_answer_is_planned_as_it_was_seen_last() -> None:
    away = replace(AT_1, reachable=False, unreachable_since=20_000.0)
    assert preview(staged(TO_2), away) == preview(staged(TO_2), AT_1)


def test_when_it_was_seen_makes_no_difference() -> None:
    moved = {name: {v: replace(one, since=9_999.0) for v, one in some.items()}
             for name, some in AT_1.models.items()}  # fmt: skip
    later = replace(AT_1, at=30_000.0, quiet_since=29_999.0, models=moved)
    assert preview(staged(TO_2), later) == preview(staged(TO_2), AT_1)


def test_a_reload_under_way_counts_as_taken() -> None:
    loaded = Config({"m": entry("m", 1, 2, stable=1)})
    assert AT_1.verified is not None
    sent = Intent(loaded, AT_1.verified.marker, frozenset(), sent_at=9_999.0)
    found = preview(staged(TO_2), replace(AT_1, intent=sent))
    assert told(found) == ["m: stable → 2"]
    assert found.reloads[0].waits_for[0] == "m 2 AVAILABLE"


def test_a_cold_rollback_loads_and_a_warm_one_does_not() -> None:
    back = {"m": deployed("m", 1, stable=1)}
    cold = course([deployed("m", 2, stable=2)], back, Kind.ROLLBACK)
    at_2 = running(config(m=entry("m", 2, stable=2)), {"m": {2: UP}})
    assert told(preview(staged(cold), at_2)) == ["load m 1", "m: stable → 1", "drop m 2"]
    warm = course([deployed("m", 1, 2, stable=2)], {"m": deployed("m", 1, 2, stable=1)},
                  Kind.ROLLBACK)  # fmt: skip
    both = running(config(m=entry("m", 1, 2, stable=2)), {"m": {1: UP, 2: UP}})
    assert [one.warm for one in preview(staged(warm), both).reloads] == [True]


def test_a_rollback_is_not_stopped_by_what_it_leaves() -> None:
    back = course([deployed("m", 1, 2, stable=2)], {"m": M1}, Kind.ROLLBACK)
    broken = running(config(m=entry("m", 1, 2, stable=2)), {"m": {1: UP, 2: failed()}})
    found = preview(staged(back), broken)
    assert told(found) == ["m: stable → 1", "drop m 2"]
    assert found.end == Converged()


def test_broken_files_block_it_where_they_are_needed() -> None:
    storage = {"m": Presence(True, frozenset({1}), {2: "no saved_model.pb"}, frozenset({2}))}
    found = preview(staged(TO_2), AT_1, storage)
    assert found.reloads == ()
    assert found.end == Blocked(Cause.FILES_BROKEN, "m 2: no saved_model.pb")


def test_a_failed_load_blocks_it_with_the_servers_words() -> None:
    there = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: failed()}})
    found = preview(staged(TO_2), there)
    assert isinstance(found.end, Blocked)
    assert (found.end.cause, "bad variables" in found.end.why) == (Cause.LOAD_FAILED, True)


def test_a_version_that_cannot_answer_blocks_it_before_any_label_moves() -> None:
    mute = seen(UP, able=Able(Ability.UNABLE, "no variables"))
    there = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: mute}})
    found = preview(staged(TO_2), there)
    assert found.reloads == ()
    assert found.end == Blocked(Cause.UNABLE, "m 2 cannot answer: no variables")


def test_nothing_is_planned_for_a_server_that_nobody_took_over() -> None:
    found = preview(staged(TO_2, replace(SERVER, taken_over=False)), AT_1)
    assert found.reloads == ()
    assert isinstance(found.end, Blocked)
    assert found.end.cause is Cause.NOT_TAKEN_OVER


def test_the_last_model_leaves_an_empty_server() -> None:
    found = preview(staged(course([M1], {"m": None})), AT_1)
    assert told(found) == ["m: stable → none", "undeployed"]
    assert found.reloads[1].config.config.models == {}
    assert found.reloads[1].unlabelled == {"m": (1, None)}


def test_the_peak_is_the_moment_with_the_most_bytes_loaded() -> None:
    sizes = {("m", 1): 10, ("m", 2): 20}
    found = preview(staged(course([M1], {"m": deployed("m", 2, stable=2)})), AT_1, None, sizes)
    assert found.peak == {("m", 1), ("m", 2)}


def test_other_models_stay_in_every_config() -> None:
    head = [M1, deployed("other", 3, stable=3)]
    there = running(
        config(m=entry("m", 1, stable=1), other=entry("other", 3, stable=3)),
        {"m": {1: UP}, "other": {3: UP}},
    )
    found = preview(staged(course(head, {"m": deployed("m", 1, 2, stable=2)})), there)
    kept = entry("other", 3, stable=3)
    assert [one.config.config.models["other"] for one in found.reloads] == [kept, kept]


def test_a_version_that_is_loading_is_waited_for() -> None:
    there = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: seen(State.LOADING)}})
    found = preview(staged(TO_2), there)
    assert told(found) == ["m: stable → 2"]
    assert found.reloads[0].waits_for[0] == "m 2 AVAILABLE"


def test_each_server_is_sent_what_the_waves_give_it() -> None:
    steps = (
        Step(StepName.LOAD),
        Step(StepName.CANARY, spec={"label": "canary", "servers": 1}),
        Step(StepName.BAKE, spec={"seconds": 60.0}),
        Step(StepName.PROMOTE, spec={"servers": "all"}),
        Step(StepName.RETIRE),
    )
    after = {"m": deployed("m", 1, 2, stable=2, canary=2)}
    planned = course([M1], after, steps=steps, servers=("a", "b"))
    first, second = (preview(staged(planned, replace(SERVER, name=n)), AT_1) for n in ("a", "b"))
    assert [one.step for one in first.reloads] == ["load", "canary", "promote"]
    assert [one.step for one in second.reloads] == ["load", "promote"]
    assert first.reloads[1].why == "m: canary → 2"
    assert first.reloads[2].waits_for == ("canary done on a", "bake of 60 s")


def test_servers_that_are_alike_share_one_preview() -> None:
    shared = staged(TO_2)
    other = running(config(m=entry("m", 1, 2, stable=1)), {"m": {1: UP, 2: UP}})
    asked = {"a": (shared, AT_1), "b": (shared, replace(AT_1, at=5.0)), "c": (shared, other)}
    found = previews(asked)
    assert found["a"] is found["b"]
    assert told(found["c"]) == ["m: stable → 2"]
