"""One control plane and one model server in virtual time: the planner against the dev server's
machine, with everything between them that can go wrong.

`World` does what the reconcile loop does (look, learn, plan, commit the intent, push, look again),
without a network. It checks each push before it is sent and the truth of each decision.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from control_plane.devserver.config import Entry, Flags
from control_plane.devserver.disk import MemoryDisk
from control_plane.devserver.machine import Call, Machine
from control_plane.devserver.refusal import Code, Refusal
from control_plane.domain import evidence, planner
from control_plane.domain.action import Plan, Reload, Wait
from control_plane.domain.assignment import Assignment, Traits, Want
from control_plane.domain.observed import Intent, Look, Observed, Presence
from control_plane.domain.questions import questions
from control_plane.domain.state import (
    Ability,
    Able,
    Absent,
    Config,
    Dangling,
    LabelAnswer,
    Marker,
    ReloadAnswer,
    Resolved,
    State,
    VersionStatus,
)
from tests.unit.hard_states import hard_states
from tests.unit.simulated_calls import OWNER, Pending, entries_of

MODELS = ("a", "b", "c")
SWEEP_S = 30.0
PASS_S = 0.05


def path_of(name: str) -> str:
    return f"/models/{name}"


@dataclass
class World:
    """A server, its storage, and a control plane that brings it to what is wanted."""

    labels_flag: bool = False
    inline: bool = True
    seed: int = 0
    now: float = 1000.0
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    observed: Observed = field(default_factory=Observed)
    wants: dict[str, tuple[frozenset[int], dict[str, int]]] = field(default_factory=dict)
    undeployed: bool = False
    up: bool = True
    hung: bool = False
    unable: set[tuple[str, int]] = field(default_factory=set)
    poison: set[tuple[str, int]] = field(default_factory=set)  # a load of it ends the server
    ended_without: Counter[tuple[str, int]] = field(default_factory=Counter)  # it serving
    taken_over_at: float = 0.0
    next_push: str = "arrives"  # or: answer-lost, never-arrives, arrives-late
    pending: list[Pending] = field(default_factory=list)
    late: list[tuple[float, Config, Marker | None]] = field(default_factory=list)
    disturbed_at: float = 0.0
    reached: Counter[str] = field(default_factory=Counter)
    pushes: list[Config] = field(default_factory=list)
    plan: Plan | None = None
    inside: set[str] = field(default_factory=set)  # hard states that the last pass was in
    known: set[str] = field(default_factory=set)  # names that were ever wanted

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        for name in MODELS:
            self.disk.put(path_of(name), 1, 2, 3)
        self.machine = self._machine([])

    def _machine(self, config: list[Entry]) -> Machine:
        flags = Flags(
            max_num_load_retries=1,
            load_retry_interval_micros=500_000,
            num_load_threads=0 if self.inline else 2,
            num_unload_threads=0 if self.inline else 2,
            allow_version_labels_for_unavailable_models=self.labels_flag,
        )
        return Machine(flags, self.disk, config, now=self.now, chooser=self.random)

    # What the control plane asks, and what the server answers -------------------------------------

    @property
    def reachable(self) -> bool:
        return self.up and not self.hung and self.machine.ready and not self.machine.failed

    def _statuses(self, name: str) -> Mapping[int, object]:
        try:
            return self.machine.status(name)
        except Refusal:
            return {}

    def _label(self, name: str, label: str) -> LabelAnswer:
        try:
            return Resolved(self.machine.resolve(name, label=label))
        except Refusal as refusal:
            if refusal.code is Code.NOT_FOUND and "Specific(" in refusal.message:
                return Dangling(int(refusal.message.rpartition(", ")[2].rstrip(")")))
            return Absent()

    def look(self, *, sweep: bool = False) -> Look:
        if not self.reachable:
            return Look(self.now, reachable=False)
        wanted = {name: labels for name, (_, labels) in self.wants.items()}
        unseen = frozenset(wanted) - frozenset(self.observed.models)
        hot = unseen | self.plan.hot if self.plan else unseen
        known = replace(self.observed, looked_at=0.0) if sweep else self.observed
        asked = questions(known, wanted, OWNER, hot)
        labels: dict[str, dict[str, LabelAnswer]] = {}
        for name, label in asked.labels:
            labels.setdefault(name, {})[label] = self._label(name, label)
        return Look(
            self.now,
            statuses={name: dict(self._statuses(name)) for name in asked.statuses},  # type: ignore[arg-type]
            labels=labels,
            markers={place: self._label(*place) for place in asked.markers},
            full=asked.full,
        )

    def able(self, plan: Plan) -> Look:
        answers: dict[str, dict[int, Able]] = {}
        for name, version in plan.ask:
            unable = (name, version) in self.unable
            answer = Able(Ability.UNABLE, "no variables") if unable else Able(Ability.PROVEN)
            answers.setdefault(name, {})[version] = answer
        return Look(self.now, able=answers)

    def storage(self) -> Mapping[str, Presence]:
        held = self.observed.verified.config.models if self.observed.verified else {}
        return {name: self._presence(name) for name in {*self.wants, *held, *self.observed.models}}

    def _presence(self, name: str) -> Presence:
        children = self.disk.children(path_of(name))
        if children is None:
            return Presence(base_path=False)
        there = frozenset(int(child) for child in children)
        good = frozenset(v for v in there if not self.hollow(name, v))
        faults = {v: "not there" for v in (1, 2, 3) if v not in there}
        faults |= dict.fromkeys(there - good, "saved_model.pb does not parse")
        return Presence(True, good, faults, there - good)

    def hollow(self, name: str, version: int) -> bool:
        """Whether a look at the files shows that they are broken; not every bad load shows so."""
        return self.disk.load(f"{path_of(name)}/{version}").error == "hollow"

    # One pass -------------------------------------------------------------------------------------

    @property
    def traits(self) -> Traits:
        return Traits(labels_flag=self.labels_flag, inline_loads=self.inline, load_budget_s=60.0)

    def assignment(self) -> Assignment:
        models = {
            name: Want(path_of(name), versions, labels)
            for name, (versions, labels) in self.wants.items()
        }
        return Assignment(
            models,
            OWNER,
            taken_over_at=self.taken_over_at,
            may_empty=self.undeployed,
            traits=self.traits,
        )

    def learn(self, look: Look) -> None:
        before = self.observed
        self.observed = evidence.learn(before, look, self.traits.settle_s)
        self.reached["lost marker"] += (
            before.verified is not None and self.observed.verified is None
        )
        self.reached["void intent"] += len(self.observed.ghosts) > len(before.ghosts)

    def one_pass(self) -> Plan:
        """Look, learn, plan, push at most once, look again."""
        self.known |= set(self.wants)
        self._hear()
        self.learn(self.look(sweep=self.now - self.observed.looked_at > SWEEP_S))
        if self.observed.reachable and self.observed.looked_at == 0.0:
            self.learn(self.look())
        plan = planner.plan_server(self.assignment(), self.observed, None, self.now)
        if plan.ask:
            self.learn(self.able(plan))
            plan = planner.plan_server(self.assignment(), self.observed, None, self.now)
        if plan.storage_wanted:
            plan = planner.plan_server(self.assignment(), self.observed, self.storage(), self.now)
        self.plan = plan
        self._note(plan)
        if isinstance(plan.action, Reload):
            self._push(plan.action)
        return plan

    def _push(self, push: Reload) -> None:
        self.check(push)
        intent = Intent(push.config, push.marker, push.names_added, self.now)
        held = self._held()
        wanted = {name: versions for name, (versions, _) in self.wants.items()}
        self.observed = evidence.sent(self.observed, intent, held, wanted)
        self.pushes.append(push.config)
        self.now += 0.001
        how, self.next_push = self.next_push, "arrives"
        timeout_s = planner.reload_timeout_s(push, self.traits)
        if how == "arrives-late":
            self.late.append((self.now + self.random.uniform(0.5, 20), push.config, push.marker))
        arrives = how in ("arrives", "answer-lost") and self.reachable
        call = self._send(push.config, push.marker) if arrives else None
        given_up_at = self.now + (timeout_s if how == "arrives" else min(timeout_s, 1.0))
        self.pending.append(Pending(intent, call, given_up_at, cut=how != "arrives"))
        self._hear()

    def _held(self) -> dict[str, frozenset[int]]:
        config = self.observed.verified.config if self.observed.verified else Config()
        return {name: one.versions for name, one in config.models.items()}

    def _send(self, config: Config, marker: Marker | None) -> Call:
        self.machine.advance(self.now)
        return self.machine.reload(entries_of(config, marker))

    def _hear(self) -> None:
        """Take answers that have come, and give up those that will not."""
        for one in list(self.pending):
            answer = one.call.answer if one.call and not one.cut else None
            if answer is not None and self.up and not self.hung:
                self._answered(one, ReloadAnswer(*answer))
            elif self.now >= one.gives_up_at:
                self._answered(one, ReloadAnswer("DEADLINE_EXCEEDED"))

    def _answered(self, one: Pending, answer: ReloadAnswer) -> None:
        self.pending.remove(one)
        if answer.code in evidence.REFUSING and self.now - self.disturbed_at > SWEEP_S + 5:
            raise AssertionError(f"refused: {answer.message}")
        current = self.observed.intent
        if current and current.sent_at == one.intent.sent_at:
            heard = replace(current, answer=answer, answered_at=self.now)
            self.observed = evidence.answered(self.observed, heard)

    # Time -----------------------------------------------------------------------------------------

    def run(self, seconds: float) -> Plan:
        """Let time pass, with a pass of the loop whenever something may have changed."""
        end = self.now + seconds
        plan = self.one_pass()
        while self.now < end:
            self.pass_time(min(self._nap(plan), end - self.now))
            plan = self.one_pass()
        return plan

    def _nap(self, plan: Plan) -> float:
        moving = self.pending or isinstance(plan.action, Reload | Wait)
        return PASS_S * self.random.choice((1, 2, 6)) if moving else 2.0

    def pass_time(self, seconds: float) -> None:
        end = self.now + max(seconds, 0.001)
        while self.late and min(self.late)[0] <= end and not self.hung:
            late = min(self.late, key=lambda one: one[0])
            self.late.remove(late)
            self.now = max(self.now, late[0])
            if self.reachable:
                self._send(late[1], late[2])
                self.disturbed_at = self.now
        self.now = end
        if self.up and not self.hung:
            self.machine.advance(end)
            self._die_of_poison()

    def _die_of_poison(self) -> None:
        """End the server some time into such a load; somebody starts it again at once."""
        for name, version in self.poison:
            one = self._statuses(name).get(version)
            loading = isinstance(one, VersionStatus) and one.state is State.LOADING
            if loading and self.random.random() < 0.3:
                self.reached["server ended by a load"] += 1
                self.restart()
                return

    # What goes wrong ------------------------------------------------------------------------------

    def disturb(self) -> None:
        self.disturbed_at = self.now

    def restart(self, config: list[Entry] | None = None) -> None:
        self.reached["open intent across a restart"] += self.observed.intent is not None
        every = {(name, version) for name in MODELS for version in (1, 2, 3)}
        self.ended_without.update(every - set(self.machine.serving))
        self.machine.crash()
        for one in self.pending:
            one.call = None
            one.gives_up_at = min(one.gives_up_at, self.now + 0.2)
        self.late.clear()
        self.hung = False
        self.machine = self._machine(config or [])
        self.disturb()

    def foreign(self, *entries: Entry) -> None:
        """Another writer replaces the config."""
        if self.reachable:
            loaded = bool(self.machine.serving)
            self.machine.reload(list(entries))
            self.reached["foreign empty list"] += loaded and not entries
            self.disturb()

    def kill_control_plane(self) -> None:
        """It forgets its calls; what was persisted is all that a new one has."""
        self.plan = None
        self.pending.clear()
        intent = self.observed.intent
        if intent and intent.answer is None:
            heard = replace(intent, answer=ReloadAnswer("CANCELLED"), answered_at=self.now)
            self.observed = replace(self.observed, intent=heard)

    # Checks ---------------------------------------------------------------------------------------

    def check(self, push: Reload) -> None:
        """What must hold of every config before it goes out."""
        config, observed = push.config, self.observed
        assert self.reachable or observed.reachable
        assert config.models or self.undeployed, "the empty list without an undeploy"
        in_force = {
            (name, version)
            for name in MODELS
            for label in ("stable", "canary")
            if isinstance(answer := self._label(name, label), Resolved)
            for version in (answer.version,)
        }
        for name, one in config.models.items():
            assert one.versions, f"an empty list for {name}"
            for label, version in one.labels.items():
                assert version in one.versions, f"{label} of {name} on a version not in its list"
        steady = observed.verified is not None and self.now - self.disturbed_at > SWEEP_S + 5
        if steady and self.reachable:
            kept = {(n, v) for n, one in config.models.items() for v in one.versions}
            assert in_force <= kept, f"drops a labelled version: {in_force - kept}"
            self._check_swap(config)

    def _check_swap(self, config: Config) -> None:
        running = self.observed.verified.config.models if self.observed.verified else {}
        for name, one in config.models.items():
            if name in running and running[name].versions == one.versions:
                continue
            loaded = {v for n, v in self.machine.serving if n == name}
            assert not loaded or one.versions & loaded, (
                f"swaps all of {name}: {loaded} → {one.versions}"
            )

    def labels_answer(self) -> bool:
        """Whether each verified label answers as it was verified, or as a push under way has it."""
        verified, intent = self.observed.verified, self.observed.intent
        if verified is None:
            return True
        moving = intent.config.models if intent else {}
        for name, one in verified.config.models.items():
            after = moving[name].labels if name in moving else {} if intent else one.labels
            for label, version in one.labels.items():
                target = after.get(label)
                allowed = {Resolved(version), Absent() if target is None else Resolved(target)}
                if self._label(name, label) not in allowed:
                    return False
        return True

    def truly_converged(self) -> bool:
        """Whether the server, asked directly, serves what is wanted and nothing else of it."""
        for name in self.known:
            versions, labels = self.wants.get(name, (frozenset(), {}))
            if {v for n, v in self.machine.serving if n == name} != versions:
                return False
            if any(self._label(name, label) != Resolved(v) for label, v in labels.items()):
                return False
            if any(
                label not in labels and isinstance(self._label(name, label), Resolved)
                for label in ("stable", "canary")
            ):
                return False
        return True

    def _note(self, plan: Plan) -> None:
        """Count the hard states that this pass entered."""
        inside = hard_states(self.observed, plan, labels_flag=self.labels_flag)
        for state in inside - self.inside:
            self.reached[state] += 1
        self.inside = inside
