"""How a rollout goes on, and what its steps mean for a server."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain.advance import (
    Facts,
    Reach,
    ServerFact,
    Transition,
    advance,
    alone,
    ended,
    superseded,
)
from control_plane.domain.events import EventKind
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.steps import (
    State,
    StepTarget,
    desired_models,
    labels_to_verify,
    started,
    step_key,
    steps_for,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER, LATE = NOW + timedelta(minutes=1), NOW + timedelta(hours=1)

REACHED = ServerFact(Reach.REACHED, "there")
MOVING = ServerFact(Reach.MOVING, "loading version 2")
FAILED = ServerFact(Reach.FAILED, "version 2 failed to load", "Data loss: not an sstable")
BLOCKED = ServerFact(Reach.BLOCKED, "the base path is missing")
LACKING = ServerFact(Reach.LACKING, "m 2: variables.index is missing")
AWAY = ServerFact(Reach.UNREACHABLE, "does not answer")


def serving(*versions: int, **labels: int) -> Deployment:
    return Deployment("m", frozenset(versions), labels)


BEFORE: State = {"m": serving(1, stable=1)}
AFTER: State = {"m": serving(1, 2, stable=2)}


def a_rollout(
    kind: Kind = Kind.PROMOTE,
    servers: tuple[str, ...] = ("a", "b"),
    before: State = BEFORE,
    after: State = AFTER,
) -> Rollout:
    fresh = Rollout(
        id="r1",
        fleet="default",
        models=tuple({**before, **after}),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=steps_for(kind, before, after),
        created_at=NOW,
        deadline_at=NOW + timedelta(minutes=13),
        actor="ada",
        label="stable",
    )
    return started(fresh, servers, NOW)


def go(rollout: Rollout, now: datetime = NOW, spare: int = 0, **facts: ServerFact) -> Transition:
    return advance(rollout, Facts(facts, spare), now)


def at_step(name: StepName, kind: Kind = Kind.PROMOTE) -> Rollout:
    rollout = a_rollout(kind)
    while rollout.step is not None and rollout.step.name is not name:
        rollout = go(rollout, a=REACHED, b=REACHED).rollout
    return rollout


def step_name(rollout: Rollout) -> StepName | None:
    return rollout.step.name if rollout.step else None


def test_a_promotion_loads_then_moves_labels_then_retires() -> None:
    rollout, seen = a_rollout(), []
    while rollout.phase.live:
        seen.append(step_name(rollout))
        rollout = go(rollout, a=REACHED, b=REACHED).rollout
    assert seen == [StepName.LOAD, StepName.PROMOTE, StepName.RETIRE]
    assert rollout.phase is Phase.SUCCEEDED


def test_labels_wait_until_every_server_has_loaded() -> None:
    waiting = go(a_rollout(), a=REACHED, b=MOVING).rollout
    assert step_name(waiting) is StepName.LOAD
    assert "b: loading version 2" in waiting.sentence
    assert step_name(go(waiting, a=REACHED, b=REACHED).rollout) is StepName.PROMOTE


def test_a_failed_load_ends_the_rollout_with_the_servers_own_words() -> None:
    over = go(a_rollout(), a=MOVING, b=FAILED)
    assert over.rollout.phase is Phase.FAILED
    assert over.rollout.error == "Data loss: not an sstable"
    assert "b: version 2 failed to load" in over.rollout.sentence
    assert over.revert
    assert not over.verify


def test_success_is_verified_and_not_reverted() -> None:
    over = go(at_step(StepName.RETIRE), a=REACHED, b=REACHED)
    assert over.rollout.phase is Phase.SUCCEEDED
    assert (over.revert, over.verify) == (False, True)
    kinds = [one.kind for one in over.events]
    assert kinds == [EventKind.ROLLOUT_STEP_ENDED, EventKind.ROLLOUT_ENDED]


def test_an_unreachable_server_is_waited_for_by_name() -> None:
    waiting = go(a_rollout(), a=REACHED, b=AWAY).rollout
    assert waiting.phase is Phase.WAITING
    assert "b: does not answer" in waiting.sentence


def test_a_server_that_returns_lets_the_rollout_go_on() -> None:
    waiting = go(a_rollout(), a=REACHED, b=AWAY).rollout
    assert step_name(go(waiting, a=REACHED, b=REACHED).rollout) is StepName.PROMOTE


def test_max_unavailable_servers_become_laggards() -> None:
    after = go(a_rollout(), spare=1, a=REACHED, b=AWAY).rollout
    assert after.laggards == ("b",)
    assert after.step is not None
    assert after.step.servers == ("a",)


def test_laggards_are_named_at_the_end_unless_they_caught_up() -> None:
    rollout = go(a_rollout(), spare=1, a=REACHED, b=AWAY).rollout
    rollout = go(rollout, a=REACHED, b=AWAY).rollout
    late = go(rollout, a=REACHED, b=MOVING).rollout
    assert (late.phase, late.laggards) == (Phase.SUCCEEDED, ("b",))
    assert "b" in late.sentence
    assert go(rollout, a=REACHED, b=REACHED).rollout.laggards == ()


def test_a_gate_does_not_pass_because_its_only_witness_is_away() -> None:
    alone_ = a_rollout(servers=("a",))
    assert step_name(go(alone_, spare=1, a=AWAY).rollout) is StepName.LOAD


def test_a_laggard_that_failed_stops_nothing() -> None:
    rollout = go(a_rollout(), spare=1, a=REACHED, b=AWAY).rollout
    assert go(rollout, a=REACHED, b=FAILED).rollout.phase.live


def test_the_deadline_before_labels_moved_is_a_failure() -> None:
    over = go(a_rollout(), LATE, a=REACHED, b=AWAY)
    assert (over.rollout.phase, over.revert) == (Phase.FAILED, True)
    assert "b" in over.rollout.sentence


def test_files_that_do_not_come_soon_fail_the_rollout_and_are_named() -> None:
    waiting = go(a_rollout(), a=REACHED, b=MOVING).rollout
    lacks = go(waiting, LATER, a=REACHED, b=LACKING).rollout
    assert lacks.phase is Phase.WAITING
    assert go(lacks, LATER + timedelta(seconds=29), a=REACHED, b=LACKING).rollout == lacks
    over = go(lacks, LATER + timedelta(seconds=30), a=REACHED, b=LACKING).rollout
    assert over.phase is Phase.FAILED
    assert over.sentence == "b: m 2: variables.index is missing; not there within 30 s"


def test_files_that_come_in_time_are_loaded() -> None:
    lacks = go(a_rollout(), a=REACHED, b=LACKING).rollout
    loading = go(lacks, LATER, a=REACHED, b=MOVING).rollout
    again = go(loading, LATER, a=REACHED, b=LACKING).rollout
    assert go(again, LATER + timedelta(seconds=29), a=REACHED, b=LACKING).rollout.phase.live


def test_a_rollback_to_files_that_are_gone_everywhere_fails_soon() -> None:
    rollout = a_rollout(Kind.ROLLBACK)
    lacks = go(rollout, a=LACKING, b=LACKING).rollout
    mixed = go(lacks, NOW + timedelta(seconds=40), a=LACKING, b=MOVING).rollout
    assert mixed.phase.live
    lacks = go(mixed, NOW + timedelta(seconds=40), a=LACKING, b=LACKING).rollout
    assert lacks.phase.live
    over = go(lacks, NOW + timedelta(seconds=70), a=LACKING, b=LACKING).rollout
    assert (over.phase, over.sentence) == (
        Phase.FAILED,
        "a: m 2: variables.index is missing; not there within 30 s",
    )


def test_missing_files_after_labels_moved_are_waited_for_until_the_deadline() -> None:
    lacks = go(at_step(StepName.PROMOTE), a=REACHED, b=LACKING).rollout
    assert go(lacks, LATER + timedelta(minutes=5), a=REACHED, b=LACKING).rollout == lacks


def test_the_deadline_after_labels_moved_rolls_back() -> None:
    over = go(at_step(StepName.PROMOTE), LATE, a=REACHED, b=AWAY)
    assert (over.rollout.phase, over.revert) == (Phase.ROLLED_BACK, True)


def test_a_version_that_cannot_answer_after_labels_moved_rolls_back() -> None:
    over = go(at_step(StepName.PROMOTE), a=REACHED, b=FAILED)
    assert (over.rollout.phase, over.revert) == (Phase.ROLLED_BACK, True)


def test_late_droppers_are_laggards_of_a_success() -> None:
    over = go(at_step(StepName.RETIRE), LATE, a=REACHED, b=BLOCKED)
    assert (over.rollout.phase, over.rollout.laggards) == (Phase.SUCCEEDED, ("b",))
    assert over.verify


def test_the_only_healthy_copy_is_not_taken_away() -> None:
    halted = go(at_step(StepName.RETIRE), LATE, a=REACHED, b=FAILED)
    assert halted.rollout.phase is Phase.WAITING
    assert "halted" in halted.rollout.sentence
    assert not halted.revert


def test_a_rollback_is_not_automatic_when_the_old_version_is_gone() -> None:
    facts = Facts({"a": REACHED, "b": FAILED}, old_version_gone=True)
    halted = advance(at_step(StepName.PROMOTE), facts, LATE)
    assert halted.rollout.phase is Phase.WAITING
    assert not halted.revert


def test_a_rollback_has_no_step_of_loading_alone() -> None:
    assert step_name(a_rollout(Kind.ROLLBACK)) is StepName.PROMOTE


@pytest.mark.parametrize("fact", [AWAY, BLOCKED, LACKING, FAILED])
def test_a_rollback_goes_on_without_servers_that_cannot_follow(fact: ServerFact) -> None:
    rollout = go(a_rollout(Kind.ROLLBACK), a=REACHED, b=fact).rollout
    assert step_name(rollout) is StepName.RETIRE
    over = go(rollout, a=REACHED, b=fact)
    assert (over.rollout.phase, over.rollout.laggards) == (Phase.SUCCEEDED, ("b",))
    assert over.verify


def test_a_rollback_waits_for_servers_that_are_on_their_way() -> None:
    assert step_name(go(a_rollout(Kind.ROLLBACK), a=REACHED, b=MOVING).rollout) is StepName.PROMOTE


def test_a_rollback_that_nobody_saw_is_kept_but_not_verified() -> None:
    waiting = go(a_rollout(Kind.ROLLBACK), a=AWAY, b=AWAY).rollout
    assert waiting.phase is Phase.WAITING
    late = go(waiting, LATE, a=AWAY, b=AWAY).rollout
    over = go(late, LATE, a=AWAY, b=AWAY)
    assert (over.rollout.phase, over.rollout.laggards) == (Phase.SUCCEEDED, ("a", "b"))
    assert (over.revert, over.verify) == (False, False)


def test_a_rollback_to_a_version_that_loads_nowhere_fails() -> None:
    over = go(a_rollout(Kind.ROLLBACK), a=FAILED, b=FAILED)
    assert (over.rollout.phase, over.revert) == (Phase.FAILED, True)


def test_without_servers_it_is_done_at_once() -> None:
    over = alone(a_rollout(servers=()), NOW)
    assert over.rollout.phase is Phase.SUCCEEDED
    assert "no server" in over.rollout.sentence
    assert over.events[-1].kind is EventKind.ROLLOUT_ENDED


def test_a_server_that_left_the_fleet_is_not_waited_for() -> None:
    assert step_name(go(a_rollout(), a=REACHED).rollout) is StepName.PROMOTE


def test_a_server_that_joined_does_not_gate() -> None:
    after = go(a_rollout(), a=REACHED, b=REACHED, c=AWAY).rollout
    assert after.step is not None
    assert after.step.servers == ("a", "b")


def test_facts_of_another_step_are_not_believed() -> None:
    rollout = at_step(StepName.PROMOTE)
    stale = Facts({"a": REACHED, "b": REACHED}, key=step_key(a_rollout()))
    assert advance(rollout, stale, NOW) == Transition(rollout)


def test_paused_and_ended_rollouts_stay_as_they_are() -> None:
    paused = replace(a_rollout(), phase=Phase.PAUSED)
    assert go(paused, LATE, a=REACHED, b=REACHED) == Transition(paused)
    over = ended(a_rollout(), Phase.ABORTED, "aborted by ada", NOW).rollout
    assert go(over, a=REACHED, b=REACHED) == Transition(over)


def test_the_same_facts_again_change_nothing() -> None:
    once = go(a_rollout(), a=REACHED, b=MOVING).rollout
    assert go(once, a=REACHED, b=MOVING).rollout == once


def test_evidence_tells_what_was_seen_of_each_server() -> None:
    seen = go(a_rollout(), a=REACHED, b=FAILED).rollout.steps[0].evidence
    assert seen["a"]["reached"]
    assert seen["b"]["error"] == "Data loss: not an sstable"


def test_a_superseded_rollout_ends_without_a_revert() -> None:
    over = superseded(a_rollout(), "r2", NOW)
    assert (over.rollout.phase, over.rollout.superseded_by) == (Phase.ABORTED, "r2")
    assert not over.revert


def head(model: str, *versions: int, **labels: int) -> Mapping[str, Deployment]:
    return {model: replace(serving(*versions, **labels), model=model)}


def target(rollout: Rollout, before: State = BEFORE, after: State = AFTER) -> StepTarget | None:
    at_head = {model: one for model, one in after.items() if one}
    return desired_models(at_head, [(rollout, before, after)]).get("m")


def test_while_loading_both_are_served_with_the_old_labels() -> None:
    wanted = StepTarget(frozenset({1, 2}), {"stable": 1}, key="r1:0")
    assert target(a_rollout()) == wanted


def test_while_promoting_both_are_served_with_the_new_labels() -> None:
    after: State = {"m": serving(2, stable=2)}
    rollout = go(a_rollout(after=after), a=REACHED, b=REACHED).rollout
    wanted = StepTarget(frozenset({1, 2}), {"stable": 2}, key="r1:1")
    assert target(rollout, after=after) == wanted


def test_while_retiring_only_the_new_is_served() -> None:
    after: State = {"m": serving(2, stable=2)}
    wanted = StepTarget(frozenset({2}), {"stable": 2}, key="r1:2")
    assert target(at_step(StepName.RETIRE), after=after) == wanted


def test_a_rollback_is_urgent_until_the_label_is_back() -> None:
    flipping = target(a_rollout(Kind.ROLLBACK))
    assert flipping is not None
    assert flipping.urgent
    dropping = target(at_step(StepName.RETIRE, Kind.ROLLBACK))
    assert dropping is not None
    assert not dropping.urgent


def test_undeploying_takes_labels_off_first_and_then_the_name() -> None:
    rollout = a_rollout(Kind.UNDEPLOY, after={"m": None})
    assert [one.name for one in rollout.steps] == [StepName.PROMOTE, StepName.RETIRE]
    assert target(rollout, after={"m": None}) == StepTarget(frozenset({1}), {}, key="r1:0")
    gone = go(rollout, a=REACHED, b=REACHED).rollout
    assert target(gone, after={"m": None}) is None


def test_models_without_a_rollout_are_served_as_the_head_says() -> None:
    deployments = {**head("other", 5, stable=5), **head("m", 1, 2, stable=2)}
    wanted = desired_models(deployments, [(a_rollout(), BEFORE, AFTER)], {"other": 7})
    assert wanted["other"] == StepTarget(frozenset({5}), {"stable": 5}, key="head:7")
    assert wanted["m"].labels == {"stable": 1}


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (None, serving(1, stable=1), "load promote retire"),
        (serving(1, stable=1), serving(1, 2, stable=1), "load"),
        (serving(1, 2, stable=2), serving(2, stable=2), "retire"),
        (serving(1, 2, stable=2), serving(2, 3, stable=2), "load retire"),
        (serving(1, stable=1), serving(1, stable=1, canary=1), "load promote retire"),
        (serving(1), None, "retire"),
    ],
)
def test_a_change_has_the_steps_that_it_needs(
    before: Deployment | None, after: Deployment | None, steps: str
) -> None:
    made = steps_for(Kind.DEPLOY, {"m": before}, {"m": after})
    assert " ".join(one.name for one in made) == steps


def test_the_labels_that_moved_are_verified() -> None:
    before: State = {"m": serving(1, 2, stable=1, canary=2)}
    after: State = {"m": serving(1, 2, stable=2, canary=2)}
    rollout = a_rollout(before=before, after=after)
    assert labels_to_verify(rollout, before, after) == (("m", "stable", 2),)
