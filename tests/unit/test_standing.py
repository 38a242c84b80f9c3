from dataclasses import replace
from datetime import UTC, datetime

from control_plane.domain.action import (
    Blocked,
    Cause,
    Change,
    Converged,
    ModelAction,
    Plan,
    Rank,
    Wait,
)
from control_plane.domain.advance import Reach
from control_plane.domain.observed import Intent, Observed, Verified, VersionSeen
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.standing import (
    Standpoint,
    Status,
    fact,
    status,
    to_prove,
    unproven,
)
from control_plane.domain.state import Ability, Able, Config, ModelConfig, State
from control_plane.domain.steps import StepTarget

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UP = VersionSeen(State.AVAILABLE, 1.0)
BAD = VersionSeen(State.END, 1.0, 15, "bad bytes")
DONE = Plan(Converged(), "converged", {"m": Converged()})


def rollout(step: StepName, kind: Kind = Kind.PROMOTE) -> Rollout:
    steps = (Step(step, Phase.PROGRESSING, ("a",), NOW),)
    return Rollout("r", "f", ("m",), kind, 1, 2, Phase.PROGRESSING, "", steps, NOW, NOW, "test")


def standing(
    plan: Plan, versions: dict[int, VersionSeen], proving: frozenset[int] = frozenset()
) -> Standpoint:
    seen = Observed(reachable=True, models={"m": versions})
    targets = {"m": StepTarget(frozenset({1, 2}), {"stable": 1}, key="r:0")}
    return Standpoint(plan, seen, targets, frozenset({"r:0"}), {"m": proving})


def blocked(cause: Cause) -> Plan:
    why = Blocked(cause, "why")
    return Plan(why, "blocked", {"m": why})


def test_a_plan_for_another_step_says_nothing() -> None:
    at = replace(standing(DONE, {1: UP}), steps=frozenset({"r:1"}))
    assert fact(rollout(StepName.LOAD), "r:0", at).reach is Reach.MOVING
    assert fact(rollout(StepName.LOAD), "r:0", None).reach is Reach.MOVING


def test_a_step_is_reached_when_its_models_have_converged() -> None:
    at = standing(DONE, {1: UP, 2: UP})
    assert fact(rollout(StepName.RETIRE), "r:0", at).reach is Reach.REACHED


def test_loading_is_not_done_before_what_gets_a_label_has_answered() -> None:
    asked = frozenset({2})
    answers = {
        None: Reach.MOVING,
        Able(Ability.RETRY): Reach.MOVING,
        Able(Ability.PROVEN): Reach.REACHED,
        Able(Ability.UNPROVEN): Reach.REACHED,
        Able(Ability.UNABLE, "no variables"): Reach.FAILED,
    }
    for able, reach in answers.items():
        at = standing(DONE, {1: UP, 2: replace(UP, able=able)}, asked)
        assert fact(rollout(StepName.LOAD), "r:0", at).reach is reach


def test_a_failed_load_is_told_in_the_servers_words() -> None:
    at = standing(blocked(Cause.LOAD_FAILED), {1: UP, 2: BAD})
    found = fact(rollout(StepName.LOAD), "r:0", at)
    assert (found.reach, found.error) == (Reach.FAILED, "bad bytes")


def test_what_a_person_can_mend_does_not_fail_a_rollout() -> None:
    at = standing(blocked(Cause.POSTPONED), {1: UP})
    assert fact(rollout(StepName.LOAD), "r:0", at).reach is Reach.BLOCKED


def test_files_that_are_not_there_are_told_from_what_only_a_person_can_mend() -> None:
    for cause in (Cause.FILES_MISSING, Cause.BASE_PATH_MISSING):
        at = standing(blocked(cause), {1: UP})
        found = fact(rollout(StepName.LOAD), "r:0", at)
        assert (found.reach, found.sentence) == (Reach.LACKING, "why")


def test_an_unreachable_server_is_that_and_nothing_else() -> None:
    away = Plan(Blocked(Cause.UNREACHABLE, "away"), "away")
    at = standing(away, {})
    assert fact(rollout(StepName.LOAD), "r:0", at).reach is Reach.UNREACHABLE


def test_a_rollback_has_arrived_with_its_label_however_broken_what_it_leaves_is() -> None:
    back = rollout(StepName.PROMOTE, Kind.ROLLBACK)
    at = standing(blocked(Cause.LOAD_FAILED), {1: UP, 2: BAD})
    assert fact(back, "r:0", at).reach is Reach.MOVING
    config = Config({"m": ModelConfig("/m", frozenset({1, 2}), {"stable": 1})})
    flipped = replace(at, observed=replace(at.observed, verified=Verified(config, None, 1.0)))
    assert fact(back, "r:0", flipped).reach is Reach.REACHED
    assert fact(rollout(StepName.PROMOTE), "r:0", flipped).reach is Reach.FAILED


def test_a_rollback_drops_what_it_leaves_and_waits_for_no_end_of_it() -> None:
    config = Config({"m": ModelConfig("/m", frozenset({1}), {"stable": 1})})
    unloading = {"m": Wait("m 2 is LOADING, not END yet", 900.0)}
    drop = {"m": Change(Rank.DROP, config.models["m"], "drop m 2")}
    cases = {
        (Kind.ROLLBACK, "waits"): Reach.REACHED,
        (Kind.ROLLBACK, "drops"): Reach.MOVING,
        (Kind.PROMOTE, "waits"): Reach.MOVING,
    }
    for (kind, what), reach in cases.items():
        actions: dict[str, ModelAction] = {**(unloading if what == "waits" else drop)}
        at = standing(Plan(Wait("", 900.0), "", actions), {1: UP, 2: VersionSeen(State.LOADING, 1)})
        at = replace(at, observed=replace(at.observed, verified=Verified(config, None, 1.0)))
        assert fact(rollout(StepName.RETIRE, kind), "r:0", at).reach is reach


def test_only_versions_that_labels_move_to_have_to_answer_and_only_while_loading() -> None:
    before = {"m": Deployment("m", frozenset({1, 2}), {"stable": 1, "old": 1})}
    after = {"m": Deployment("m", frozenset({1, 2}), {"stable": 2, "old": 1})}
    assert to_prove(rollout(StepName.LOAD), before, after) == {"m": frozenset({2})}
    assert to_prove(rollout(StepName.PROMOTE), before, after) == {}


def test_versions_that_answered_or_are_not_loaded_are_not_asked() -> None:
    seen = Observed(models={"m": {1: UP, 2: replace(UP, able=Able(Ability.PROVEN)), 3: BAD}})
    assert unproven(seen, {"m": frozenset({1, 2, 3, 4})}) == (("m", 1),)


def test_one_word_for_every_situation() -> None:
    seen = Observed(reachable=True)
    loading = Intent(Config({}), None, frozenset({"m"}), 1.0)
    waits = Plan(Wait("loading", 9.0), "waiting")
    assert status(DONE, seen) is Status.READY
    assert status(waits, seen) is Status.CONVERGING
    assert status(waits, replace(seen, intent=loading)) is Status.BUSY
    assert status(waits, replace(seen, foreign=True)) is Status.DRIFTED
    assert status(blocked(Cause.WEDGED), seen) is Status.WEDGED
    assert status(blocked(Cause.UNREACHABLE), seen) is Status.UNREACHABLE
    assert status(blocked(Cause.NOT_TAKEN_OVER), seen) is Status.NOT_TAKEN_OVER
    assert status(blocked(Cause.FILES_MISSING), seen) is Status.CONVERGING
