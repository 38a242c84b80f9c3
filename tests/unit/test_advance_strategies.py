"""How a rollout goes on by a strategy: shares, time, gates, people, hooks."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.domain.advance import Facts, Reach, ServerFact, Transition, advance, alone
from control_plane.domain.errors import Denied, PhaseForbids
from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.hook import HookFact, Moment, Stand
from control_plane.domain.moments import due
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.steering import approved, hurried
from control_plane.domain.steps import (
    State,
    StepTarget,
    covered,
    desired_models,
    ends_at,
    has_moved,
    labels_to_verify,
    started,
    targets_of,
)
from control_plane.domain.strategy import itinerary
from control_plane.domain.strategy_document import parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVERS = ("a", "b", "c", "d")
REACHED = ServerFact(Reach.REACHED, "there")
MOVING = ServerFact(Reach.MOVING, "loading version 2")
FAILED = ServerFact(Reach.FAILED, "version 2 failed to load", "Data loss")
AWAY = ServerFact(Reach.UNREACHABLE, "does not answer")
BEFORE: State = {"m": Deployment("m", frozenset({1}), {"stable": 1})}
AFTER: State = {"m": Deployment("m", frozenset({2}), {"stable": 2, "canary": 2})}
PASS = Verdict(Ruling.PASS, "alike", {"records": 10})
HOLD = Verdict(Ruling.HOLD, "7 of 10 records")
FAIL = Verdict(Ruling.FAIL, "record 3 differs", {"worst": 3})
PENDING, BROKEN, DONE = (HookFact(one, "warm") for one in (Stand.PENDING, Stand.FAILED, Stand.DONE))
BAKE, REPLAY = {"bake": {"seconds": 60}}, {"gate": {"kind": "replay"}}


def a_rollout(*steps: Any, kind: Kind = Kind.PROMOTE, begun: bool = True) -> Rollout:
    fresh = Rollout(
        id="r1",
        fleet="default",
        models=("m",),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=itinerary(parse({"steps": list(steps)}), kind, BEFORE, AFTER),
        created_at=NOW,
        deadline_at=NOW + timedelta(minutes=13),
        actor="ada",
        label="stable",
    )
    return started(fresh, covered(fresh, SERVERS), NOW) if begun else fresh


def go(
    rollout: Rollout,
    after_s: float = 0.0,
    verdict: Verdict | None = None,
    hooks: Mapping[Moment, HookFact] | None = None,
    **servers: ServerFact,
) -> Transition:
    """All servers are there but for those that are given."""
    reached = dict.fromkeys(SERVERS, REACHED) | servers
    facts = Facts(reached, verdict=verdict, hooks=hooks or {})
    return advance(rollout, facts, NOW + timedelta(seconds=after_s))


def at(name: StepName, *steps: Any) -> Rollout:
    """A rollout whose step of this name has just begun."""
    rollout = a_rollout(*steps)
    while name_of(rollout) is not name:
        rollout = go(rollout).rollout
    return rollout


def name_of(rollout: Rollout) -> StepName | None:
    return rollout.step.name if rollout.step else None


def served(rollout: Rollout, server: str) -> StepTarget:
    journey = (rollout, BEFORE, AFTER)
    return targets_of(server, desired_models({}, [journey]), [journey])["m"]


def labels(rollout: Rollout) -> list[dict[str, int]]:
    return [dict(served(rollout, name).labels) for name in SERVERS]


OLD, TRIED, NEW = {"stable": 1}, {"stable": 1, "canary": 2}, {"stable": 2, "canary": 2}


def test_a_canary_moves_one_label_on_its_share_of_the_servers() -> None:
    rollout = at(StepName.CANARY, "load", {"canary": {"servers": "50%"}}, BAKE, "promote")
    assert rollout.step is not None
    assert rollout.step.servers == ("a", "b")
    assert labels(rollout) == [TRIED, TRIED, OLD, OLD]
    assert go(rollout, c=MOVING).rollout.step != rollout.step
    assert name_of(go(rollout, a=MOVING).rollout) is StepName.CANARY


def test_waves_flip_servers_in_order_of_name_and_keep_the_rest_as_it_was() -> None:
    rollout = at(StepName.PROMOTE, "load", "canary", {"promote": {"waves": [1, "75%", "100%"]}})
    seen = [labels(rollout)]
    while name_of(go(rollout).rollout) is StepName.PROMOTE:
        rollout = go(rollout).rollout
        seen.append(labels(rollout))
    assert seen == [[NEW, TRIED, TRIED, TRIED], [NEW, NEW, NEW, TRIED], [NEW] * 4]
    assert served(go(rollout).rollout, "d").versions == frozenset({2})


def test_a_server_that_joins_gets_what_all_others_have() -> None:
    rollout = at(StepName.PROMOTE, "load", {"promote": {"waves": [1, "100%"]}})
    assert served(rollout, "a").labels == NEW
    assert served(rollout, "new").labels == OLD
    assert served(rollout, "new").versions == frozenset({1, 2})
    assert served(go(rollout).rollout, "new").labels == NEW


def test_a_server_that_joins_is_never_part_of_a_wave() -> None:
    rollout = at(StepName.PROMOTE, "load", {"promote": {"waves": ["50%", "100%"]}})
    later = go(rollout, aa=AWAY).rollout
    assert later.step is not None
    assert later.step.servers == SERVERS


def test_a_laggard_of_a_wave_is_not_in_the_next_and_no_one_takes_its_new_labels_away() -> None:
    rollout = at(StepName.PROMOTE, "load", {"promote": {"waves": ["50%", "75%", "100%"]}})
    facts = Facts({**dict.fromkeys(SERVERS, REACHED), "a": AWAY}, 1)
    later = advance(rollout, facts, NOW).rollout
    assert later.laggards == ("a",)
    assert later.step is not None
    assert later.step.servers == ("b", "c", "d")
    assert served(later, "a").labels == NEW


def test_a_label_has_moved_only_when_it_has_everywhere() -> None:
    steps = ("load", "canary", {"promote": {"waves": [1, "100%"]}})
    tried = at(StepName.CANARY, *steps)
    assert (has_moved(tried, "canary"), has_moved(tried, "stable")) == (True, False)
    first = at(StepName.PROMOTE, *steps)
    assert (first.moved, has_moved(first, "stable")) == (True, False)
    assert has_moved(go(first).rollout, "stable")


def test_time_ends_a_bake_and_says_when_to_look_again() -> None:
    rollout = at(StepName.BAKE, "load", BAKE, "promote")
    waiting = go(rollout, 59).rollout
    assert name_of(waiting) is StepName.BAKE
    assert (waiting.phase, waiting.sentence) == (
        Phase.PROGRESSING,
        "baking until 2026-01-01 00:01:00 UTC",
    )
    assert ends_at(rollout) == NOW + timedelta(seconds=60)
    assert go(rollout, 59).rollout == go(rollout, 1).rollout
    assert name_of(go(rollout, 60).rollout) is StepName.PROMOTE
    assert name_of(go(rollout, 60, b=AWAY).rollout) is StepName.BAKE


def test_what_fails_while_it_bakes_turns_the_rollout_back() -> None:
    loaded = at(StepName.BAKE, "load", BAKE, "promote")
    assert go(loaded, 10, a=FAILED).rollout.phase is Phase.FAILED
    tried = at(StepName.BAKE, "load", "canary", BAKE, "promote")
    over = go(tried, 10, a=FAILED)
    assert (over.rollout.phase, over.revert) == (Phase.ROLLED_BACK, True)


def test_time_that_a_step_asks_for_does_not_count_against_the_deadline() -> None:
    rollout = at(StepName.BAKE, "load", {"bake": {"seconds": 36_000}}, "promote")
    assert go(rollout, 35_999).rollout.phase.live
    promoting = go(rollout, 36_001).rollout
    assert promoting.deadline_at == NOW + timedelta(minutes=13, seconds=36_000)
    people = at(StepName.APPROVE, "load", "approve", "promote")
    soon = go(approved(people, "bob", "", NOW), 10).rollout
    assert soon.deadline_at == NOW + timedelta(minutes=13, seconds=10)


def test_a_gate_is_waited_for_in_its_own_words() -> None:
    rollout = at(StepName.GATE, "load", REPLAY, "promote")
    unruled = go(rollout).rollout
    assert (unruled.phase, unruled.sentence) == (
        Phase.WAITING,
        "the gate replay has not ruled yet",
    )
    held = go(rollout, verdict=HOLD).rollout
    assert (held.phase, held.sentence) == (Phase.WAITING, "7 of 10 records")
    assert go(held, verdict=HOLD).rollout == held


def test_a_gate_that_passes_leaves_its_evidence_on_the_step() -> None:
    after = go(at(StepName.GATE, "load", REPLAY, "promote"), verdict=PASS).rollout
    assert name_of(after) is StepName.PROMOTE
    assert after.steps[1].evidence["verdict"] == {
        "ruling": "pass",
        "sentence": "alike",
        "evidence": {"records": 10},
    }


def test_a_gate_that_fails_ends_the_rollout_and_says_why() -> None:
    over = go(at(StepName.GATE, "load", REPLAY, "promote"), verdict=FAIL)
    assert (over.rollout.phase, over.revert) == (Phase.FAILED, True)
    assert over.rollout.sentence == "record 3 differs"
    assert over.rollout.steps[1].evidence["verdict"]["evidence"] == {"worst": 3}
    tried = go(at(StepName.GATE, "load", "canary", REPLAY, "promote"), verdict=FAIL)
    assert tried.rollout.phase is Phase.ROLLED_BACK


def test_a_gate_that_passes_while_its_witness_is_away_is_not_believed_yet() -> None:
    rollout = at(StepName.GATE, "load", REPLAY, "promote")
    waiting = go(rollout, verdict=PASS, b=AWAY).rollout
    assert name_of(waiting) is StepName.GATE
    assert "b: does not answer" in waiting.sentence
    assert name_of(go(waiting, verdict=PASS).rollout) is StepName.PROMOTE


def test_a_gate_that_holds_is_given_up_at_the_deadline() -> None:
    over = go(at(StepName.GATE, "load", REPLAY, "promote"), 3600, HOLD).rollout
    assert over.phase is Phase.FAILED
    assert over.sentence == "the deadline has passed: 7 of 10 records"


def test_approvals_are_counted_by_person_and_never_the_authors_own() -> None:
    rollout = at(StepName.APPROVE, "load", {"approve": {"count": 2}}, "promote")
    with pytest.raises(Denied):
        approved(rollout, "ada", "", NOW)
    once = approved(rollout, "bob", "looks good", NOW)
    assert approved(once, "bob", "again", NOW) == once
    waiting = go(once).rollout
    assert waiting.phase is Phase.WAITING
    assert "1 of 2 (bob)" in waiting.sentence
    after = go(approved(waiting, "eve", "", NOW)).rollout
    assert name_of(after) is StepName.PROMOTE
    given = after.steps[1].evidence["approvals"]
    assert [(one["actor"], one["reason"]) for one in given] == [("bob", "looks good"), ("eve", "")]


def test_an_author_may_approve_where_the_strategy_says_so() -> None:
    alone_ = {"approve": {"count": 1, "exclude_author": False}}
    rollout = at(StepName.APPROVE, "load", alone_, "promote")
    assert name_of(go(approved(rollout, "ada", "", NOW)).rollout) is StepName.PROMOTE


def test_there_is_nothing_to_approve_in_another_step() -> None:
    with pytest.raises(PhaseForbids):
        approved(a_rollout("load", "approve", "promote"), "bob", "", NOW)


def test_who_promotes_now_waits_for_no_bake_gate_or_approval() -> None:
    rollout = at(StepName.BAKE, "load", "canary", BAKE, REPLAY, "approve", "promote")
    told, skipped = hurried(rollout, "ada", "outage", NOW)
    assert skipped == ["bake", "gate replay", "approve"]
    seen = []
    while told.phase.live and name_of(told) is not StepName.PROMOTE:
        seen.append(name_of(told))
        told = go(told, 1, verdict=FAIL).rollout
    assert seen == [StepName.BAKE, StepName.GATE, StepName.APPROVE]
    assert told.steps[2].evidence["skipped"]["reason"] == "outage"
    with pytest.raises(PhaseForbids):
        hurried(told, "ada", "", NOW)


def test_servers_are_waited_for_even_by_who_promotes_now() -> None:
    rollout = at(StepName.BAKE, "load", BAKE, "promote")
    told, _ = hurried(rollout, "ada", "", NOW)
    assert name_of(go(told, 1, a=AWAY).rollout) is StepName.BAKE


def test_what_comes_after_the_last_wave_is_not_hurried() -> None:
    promoting = at(StepName.PROMOTE, "load", "promote", BAKE, "retire")
    with pytest.raises(PhaseForbids):
        hurried(promoting, "ada", "", NOW)


def test_draining_takes_its_time_before_anything_is_dropped() -> None:
    rollout = at(StepName.DRAIN, "load", "promote", {"drain": {"seconds": 30}}, "retire")
    assert served(go(rollout, 29).rollout, "a").versions == frozenset({1, 2})
    dropping = go(rollout, 30).rollout
    assert name_of(dropping) is StepName.RETIRE
    assert served(dropping, "a").versions == frozenset({2})


def test_all_labels_are_verified_at_the_end_and_none_before() -> None:
    rollout = at(StepName.RETIRE, "load", "canary", "promote", "retire")
    over = go(rollout)
    assert (over.rollout.phase, over.verify) == (Phase.SUCCEEDED, True)
    verified = labels_to_verify(over.rollout, BEFORE, AFTER)
    assert verified == (("m", "canary", 2), ("m", "stable", 2))
    failed = go(at(StepName.BAKE, "load", "canary", BAKE, "promote"), a=FAILED)
    assert not failed.verify


def test_without_servers_a_rollout_still_waits_for_its_gate() -> None:
    fresh = a_rollout("load", REPLAY, "promote", begun=False)
    far = alone(started(fresh, (), NOW), NOW).rollout
    assert name_of(far) is StepName.GATE
    passed = advance(far, Facts({}, verdict=PASS), NOW).rollout
    assert alone(passed, NOW).rollout.phase is Phase.SUCCEEDED


MOMENTS = [
    (Moment.BEFORE_LOAD, None, StepName.LOAD),
    (Moment.AFTER_LOAD, StepName.LOAD, StepName.CANARY),
    (Moment.BEFORE_PROMOTE, StepName.LOAD, StepName.CANARY),
    (Moment.AFTER_PROMOTE, StepName.PROMOTE, StepName.DRAIN),
    (Moment.BEFORE_UNLOAD, StepName.PROMOTE, StepName.DRAIN),
    (Moment.AFTER_UNLOAD, StepName.RETIRE, None),
]
ALL = ("load", "canary", {"promote": {"waves": [1, "all"]}}, {"drain": {"seconds": 0.001}})


def held_at(moment: Moment, fact: HookFact, kind: Kind = Kind.PROMOTE) -> Rollout:
    """Where a rollout gets to with these hooks of one moment."""
    rollout = a_rollout(*ALL, kind=kind, begun=False)
    for second in range(20):
        rollout = go(rollout, second + 1, hooks={moment: fact}).rollout
    return rollout


@pytest.mark.parametrize(("moment", "after", "before"), MOMENTS)
def test_hooks_hold_a_rollout_between_two_steps(
    moment: Moment, after: StepName | None, before: StepName | None
) -> None:
    held = held_at(moment, PENDING)
    done = [one.name for one in held.steps if one.phase is Phase.SUCCEEDED]
    assert (done[-1] if done else None, name_of(held)) == (after, before)
    assert held.phase is Phase.WAITING
    assert held.sentence == f"waiting for hooks {moment}: warm"
    assert moment in due(held)
    assert all(not one.begun for one in held.steps if one is held.step)
    on = go(held, 30, hooks={moment: DONE}).rollout
    assert on.step is None or on.step.begun
    assert due(on) == ()


@pytest.mark.parametrize(("moment", "after", "before"), MOMENTS)
def test_hooks_that_fail_turn_a_rollout_back(
    moment: Moment, after: StepName | None, before: StepName | None
) -> None:
    over = held_at(moment, BROKEN)
    early = (Moment.BEFORE_LOAD, Moment.AFTER_LOAD, Moment.BEFORE_PROMOTE)
    assert over.phase is (Phase.FAILED if moment in early else Phase.ROLLED_BACK)
    assert over.sentence == f"hooks {moment}: warm"


def test_nothing_is_loaded_while_hooks_before_it_run() -> None:
    held = held_at(Moment.BEFORE_LOAD, PENDING)
    assert served(held, "a").versions == frozenset({1})


def test_hooks_are_given_up_at_the_deadline() -> None:
    held = held_at(Moment.AFTER_LOAD, PENDING)
    over = go(held, 3600, hooks={Moment.AFTER_LOAD: PENDING}).rollout
    assert over.phase is Phase.FAILED
    assert "deadline" in over.sentence


@pytest.mark.parametrize("moment", [one for one, _, _ in MOMENTS])
@pytest.mark.parametrize("fact", [PENDING, BROKEN])
def test_no_hook_holds_a_rollback(moment: Moment, fact: HookFact) -> None:
    assert held_at(moment, fact, Kind.ROLLBACK).phase is Phase.SUCCEEDED
