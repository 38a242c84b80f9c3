"""Whatever servers and people do, in whatever order: what a rollout must never do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from control_plane.domain.advance import Facts, Reach, ServerFact, Transition, advance, ended
from control_plane.domain.errors import Denied, PhaseForbids
from control_plane.domain.events import EventKind
from control_plane.domain.gate import Ruling, Verdict
from control_plane.domain.hook import HookFact, Moment, Stand
from control_plane.domain.moments import due
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.steering import approved, hurried
from control_plane.domain.steps import desired_models, started, targets_of
from control_plane.domain.strategy import DIRECT, Strategy, itinerary
from control_plane.domain.strategy_document import parse

START = datetime(2026, 1, 1, tzinfo=UTC)
SERVERS = ("a", "b", "c")
LIVE = {Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED}
OVER = {Phase.SUCCEEDED, Phase.FAILED, Phase.ROLLED_BACK, Phase.ABORTED}
BEFORE = Deployment("m", frozenset({1}), {"stable": 1})
AFTER = Deployment("m", frozenset({2}), {"stable": 2, "canary": 2})
CAREFUL = parse(
    {
        "steps": [
            "load",
            {"canary": {"servers": "50%"}},
            {"bake": {"seconds": 90}},
            {"gate": {"kind": "replay"}},
            {"approve": {"count": 2}},
            {"promote": {"waves": [1, "60%"]}},
            {"gate": {"kind": "probe"}},
            {"promote": {"waves": ["all"]}},
            {"drain": {"seconds": 30}},
        ]
    }
)
KINDS = st.sampled_from([Kind.PROMOTE, Kind.PROMOTE, Kind.PROMOTE, Kind.ROLLBACK])
STRATEGIES = st.sampled_from([DIRECT.strategy, CAREFUL, CAREFUL, CAREFUL])
USUALLY_THERE = st.sampled_from([*[Reach.REACHED] * 20, *Reach])
RULINGS = st.sampled_from([None, None, *Ruling])
STANDS = st.sampled_from([Stand.DONE, Stand.DONE, *Stand])
PEOPLE = ("ada", "bob", "eve")

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
        self.ruling: Ruling | None = None
        self.hooks: dict[Moment, HookFact] = {}
        self.people: set[str] = set()  # who said yes to the rollout under way
        self.new: set[str] = set()  # servers that were given the new label
        self.rollout = a_rollout(Kind.PROMOTE, DIRECT.strategy, START)

    @initialize(
        kind=KINDS, strategy=STRATEGIES, spare=st.integers(0, 3), good=st.sampled_from(range(12))
    )
    def first(self, kind: Kind, strategy: Strategy, spare: int, good: int) -> None:
        self._begin(kind, strategy, spare, good)

    @rule(kind=KINDS, strategy=STRATEGIES, spare=st.integers(0, 3), good=st.sampled_from(range(12)))
    @precondition(lambda self: not self.rollout.phase.live)
    def another(self, kind: Kind, strategy: Strategy, spare: int, good: int) -> None:
        self._begin(kind, strategy, spare, good)

    def _begin(self, kind: Kind, strategy: Strategy, spare: int, good: int) -> None:
        """Begin a rollout, some of whose steps have gone well already."""
        self._fresh(kind, strategy, spare)
        for _ in range(good if kind is Kind.PROMOTE else 0):
            self.all_goes_well()

    def _fresh(self, kind: Kind, strategy: Strategy, spare: int) -> None:
        self.rollout = a_rollout(kind, strategy, self.now)
        self.reach = dict.fromkeys(SERVERS, Reach.MOVING)
        self.spare, self.reverts = spare, 0
        self.ruling, self.hooks, self.people, self.new = None, {}, set(), set()

    @rule(
        reach=st.tuples(USUALLY_THERE, USUALLY_THERE, USUALLY_THERE),
        ruling=RULINGS,
        stand=STANDS,
        seconds=st.sampled_from([0, 31, 95, 95, 1200]),
    )
    @precondition(lambda self: self.rollout.phase.live)
    def found(
        self,
        reach: tuple[Reach, Reach, Reach],
        ruling: Ruling | None,
        stand: Stand,
        seconds: int,
    ) -> None:
        """The loop looks, and everything is as it may be at that moment."""
        self.reach = {n: one for n, one in zip(SERVERS, reach, strict=True) if n in self.reach}
        self.hooks = dict.fromkeys(Moment, HookFact(stand, "warm"))
        self.ruling = ruling
        self.now += timedelta(seconds=seconds)
        self.look()

    @rule(who=st.sampled_from(PEOPLE))
    @precondition(lambda self: self.rollout.phase.live)
    def said_yes(self, who: str) -> None:
        try:
            told = approved(self.rollout, who, "", self.now)
        except (PhaseForbids, Denied):
            return
        assert who != self.rollout.actor
        assert (told == self.rollout) == (who in self.people)
        self.people.add(who)
        self._take(Transition(told))

    @rule(sure=st.sampled_from([False, False, False, True]))
    def promoted_now(self, sure: bool) -> None:
        if not sure:
            return
        try:
            told, skipped = hurried(self.rollout, "ada", "", self.now)
        except PhaseForbids:
            return
        assert skipped
        self._take(Transition(told))

    @rule()
    @precondition(lambda self: self.rollout.phase.live)
    def all_goes_well(self) -> None:
        self.reach = dict.fromkeys(self.reach, Reach.REACHED)
        self.ruling, self.hooks = Ruling.PASS, {}
        self.now += timedelta(seconds=91)
        self.said_yes("eve" if "bob" in self.people else "bob")
        self.look()

    @rule(server=st.sampled_from(SERVERS))
    def left_the_fleet(self, server: str) -> None:
        self.reach.pop(server, None)

    def look(self) -> None:
        before = self.rollout
        servers = {name: ServerFact(reach, str(reach)) for name, reach in self.reach.items()}
        verdict = Verdict(self.ruling, "so") if self.ruling else None
        facts = Facts(servers, self.spare, verdict=verdict, hooks=self.hooks)
        self._take(advance(before, facts, self.now))
        self._no_step_was_jumped(before)
        self._labels_moved_only_where_loaded(before)
        self._nothing_was_passed_by(before)
        self._no_hook_was_passed_by(before)
        if before.step is not self.rollout.step:
            self.reach = dict.fromkeys(self.reach, Reach.MOVING)
            self.ruling = None

    @rule(phase=st.sampled_from([Phase.PAUSED, Phase.PROGRESSING]))
    @precondition(lambda self: self.rollout.phase in LIVE)
    def steered(self, phase: Phase) -> None:
        self._take(Transition(replace(self.rollout, phase=phase)))

    @rule(sure=st.sampled_from([False, False, True]))
    @precondition(lambda self: self.rollout.phase.live)
    def aborted(self, sure: bool) -> None:
        if not sure:
            return
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

    def _nothing_was_passed_by(self, before: Rollout) -> None:
        """What a step waits for was there when the next one began."""
        step = before.step
        index = before.steps.index(step) if step is not None else -1
        if step is None or self.rollout.steps[index].phase is not Phase.SUCCEEDED:
            return
        if "skipped" in step.evidence:
            return
        if step.name is StepName.GATE:
            assert self.ruling is Ruling.PASS
        if step.name is StepName.APPROVE:
            assert self.people >= {"bob", "eve"}
        if step.name in (StepName.BAKE, StepName.DRAIN) and step.started_at is not None:
            assert (self.now - step.started_at).total_seconds() >= step.spec["seconds"]

    def _no_hook_was_passed_by(self, before: Rollout) -> None:
        """A step began only after the hooks of every moment before it, but for a rollback."""
        step = self.rollout.step
        if step is None or not step.begun or step is before.step or not self.rollout.phase.live:
            return
        if before.step is not None and before.step.begun and before.step.name is step.name:
            return
        if self.rollout.kind is Kind.ROLLBACK:
            return
        for moment in due(_not_begun(self.rollout, step)):
            assert self.hooks.get(moment, HookFact(Stand.DONE)).stand is Stand.DONE

    @invariant()
    def who_has_the_new_label_keeps_it_while_the_rollout_lives(self) -> None:
        if not self.rollout.phase.live:
            return
        state = {"m": BEFORE}, {"m": AFTER}
        live = [(self.rollout, *state)]
        targets = desired_models({}, live)
        new = {
            name
            for name in SERVERS
            if targets_of(name, targets, live)["m"].labels.get("stable") == 2
        }
        assert self.new <= new
        self.new = new
        if new and self.rollout.kind is Kind.PROMOTE:
            names = [one.name for one in self.rollout.steps]
            until = names.index(StepName.PROMOTE)
            assert all(one.phase is Phase.SUCCEEDED for one in self.rollout.steps[:until])

    @invariant()
    def a_rollback_waits_for_servers_only(self) -> None:
        rollout = self.rollout
        if rollout.kind is Kind.ROLLBACK and rollout.phase.live:
            assert rollout.step is not None
            assert rollout.step.begun
            assert "hooks" not in rollout.sentence

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


def _not_begun(rollout: Rollout, step: Step) -> Rollout:
    """The rollout as it stood right before this step began."""
    waiting = replace(step, phase=Phase.PENDING, started_at=None, servers=())
    return replace(rollout, steps=tuple(waiting if one is step else one for one in rollout.steps))


def a_rollout(kind: Kind, strategy: Strategy, now: datetime) -> Rollout:
    fresh = Rollout(
        id="r",
        fleet="default",
        models=("m",),
        kind=kind,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=itinerary(strategy, kind, {"m": BEFORE}, {"m": AFTER}),
        created_at=now,
        deadline_at=now + timedelta(minutes=13),
        actor="ada",
        label="stable",
    )
    return started(fresh, SERVERS, now)


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
