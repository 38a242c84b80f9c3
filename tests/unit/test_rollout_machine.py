"""Whatever servers and people do, in whatever order: what a rollout must never do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from control_plane.domain.advance import Facts, Reach, ServerFact, Transition, advance, ended
from control_plane.domain.events import EventKind
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.steps import started, steps_for

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVERS = ("a", "b", "c")
LIVE = {Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED}
OVER = {Phase.SUCCEEDED, Phase.FAILED, Phase.ROLLED_BACK, Phase.ABORTED}
BEFORE = Deployment("m", frozenset({1}), {"stable": 1})
AFTER = Deployment("m", frozenset({2}), {"stable": 2})

LEGAL = {
    Phase.PENDING: {Phase.PROGRESSING, Phase.ABORTED},
    Phase.PROGRESSING: LIVE | OVER,
    Phase.WAITING: LIVE | OVER,
    Phase.PAUSED: {Phase.PAUSED, Phase.PROGRESSING, Phase.ABORTED},
}


class Rollouts(RuleBasedStateMachine):
    """One rollout over three servers whose reach changes at random."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.reach = dict.fromkeys(SERVERS, Reach.MOVING)
        self.spare = 0
        self.reverts = 0
        self.rollout = a_rollout(Kind.PROMOTE, START)

    @rule(kind=st.sampled_from([Kind.PROMOTE, Kind.ROLLBACK]), spare=st.integers(0, 3))
    @precondition(lambda self: not self.rollout.phase.live)
    def another(self, kind: Kind, spare: int) -> None:
        self.rollout = a_rollout(kind, self.now)
        self.reach = dict.fromkeys(SERVERS, Reach.MOVING)
        self.spare, self.reverts = spare, 0

    @rule(server=st.sampled_from(SERVERS), reach=st.sampled_from(Reach))
    def seen(self, server: str, reach: Reach) -> None:
        self.reach[server] = reach

    @rule()
    def all_there(self) -> None:
        self.reach = dict.fromkeys(SERVERS, Reach.REACHED)

    @rule()
    def all_away(self) -> None:
        self.reach = dict.fromkeys(self.reach, Reach.UNREACHABLE)

    @rule(server=st.sampled_from(SERVERS))
    def left_the_fleet(self, server: str) -> None:
        self.reach.pop(server, None)

    @rule(minutes=st.sampled_from([1, 20]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def look(self) -> None:
        before = self.rollout
        servers = {name: ServerFact(reach, str(reach)) for name, reach in self.reach.items()}
        self._take(advance(before, Facts(servers, self.spare), self.now))
        self._no_step_was_jumped(before)
        self._labels_moved_only_where_loaded(before)
        if before.step is not self.rollout.step:
            self.reach = dict.fromkeys(self.reach, Reach.MOVING)

    @rule(phase=st.sampled_from([Phase.PAUSED, Phase.PROGRESSING]))
    @precondition(lambda self: self.rollout.phase in LIVE)
    def steered(self, phase: Phase) -> None:
        self._take(Transition(replace(self.rollout, phase=phase)))

    @rule()
    @precondition(lambda self: self.rollout.phase.live)
    def aborted(self) -> None:
        self._take(ended(self.rollout, Phase.ABORTED, "by ada", self.now))

    def _take(self, transition: Transition) -> None:
        was, new = self.rollout.phase, transition.rollout.phase
        assert new is was or (was in LEGAL and new in LEGAL[was])
        if not was.live:
            assert transition == Transition(self.rollout)
        closing = [one for one in transition.events if one.kind is EventKind.ROLLOUT_ENDED]
        assert len(closing) == (was.live and not new.live)
        if was.live and not new.live:
            assert transition.revert == (new is not Phase.SUCCEEDED)
        assert not (transition.verify and new is not Phase.SUCCEEDED)
        self.reverts += transition.revert
        self.rollout = transition.rollout

    def _no_step_was_jumped(self, before: Rollout) -> None:
        done = [sum(s.phase is Phase.SUCCEEDED for s in r.steps) for r in (before, self.rollout)]
        assert done[1] - done[0] in (0, 1)

    def _labels_moved_only_where_loaded(self, before: Rollout) -> None:
        step = before.step
        if step is None or step.name is not StepName.LOAD or not self.rollout.moved:
            return
        counted = set(step.servers) & set(self.reach) - set(self.rollout.laggards)
        assert all(self.reach[name] is Reach.REACHED for name in counted)
        assert counted or not set(step.servers) & set(self.reach)
        assert len(self.rollout.laggards) <= self.spare

    @invariant()
    def one_revert_exactly_when_it_did_not_succeed(self) -> None:
        bad = not self.rollout.phase.live and self.rollout.phase is not Phase.SUCCEEDED
        assert self.reverts == bad

    @invariant()
    def laggards_are_not_in_the_set_of_a_later_step(self) -> None:
        step = self.rollout.step
        if step is not None and step.started_at is not None:
            assert not set(step.servers) & set(self.rollout.laggards)

    @invariant()
    def steps_succeed_in_order(self) -> None:
        phases = [one.phase is Phase.SUCCEEDED for one in self.rollout.steps]
        assert phases == sorted(phases, reverse=True)
        if self.rollout.phase is Phase.SUCCEEDED:
            assert all(phases)


def a_rollout(kind: Kind, now: datetime) -> Rollout:
    fresh = Rollout(
        id="r",
        fleet="default",
        models=("m",),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=steps_for(kind, {"m": BEFORE}, {"m": AFTER}),
        created_at=now,
        deadline_at=now + timedelta(minutes=13),
        actor="ada",
        label="stable",
    )
    return started(fresh, SERVERS, now)


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
