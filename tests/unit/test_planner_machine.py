"""The planner against TensorFlow Serving's behaviour under everything that can go wrong.

Hypothesis drives a server through restarts, failed and slow loads, lost answers, label drift,
hostile writers and kills with an open intent; then everything is left alone, and the server must
converge or be blocked by a cause that is true and whose removal leads to convergence.
"""

import logging
import os
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from control_plane.devserver.config import Entry, Specific
from control_plane.domain.action import Blocked, Cause, Converged
from control_plane.domain.drift import FLIPS_THAT_PAUSE
from tests.unit.simulation import MODELS, World, path_of

HARD_STATES = (
    "postponed list",
    "stale END",
    "phantom START",
    "open intent across a restart",
    "void intent",
    "lost marker",
    "foreign empty list",
    "frozen poll",
    "dangling label without the flag",
    "server ended by a load",
)
REACHED: Counter[str] = Counter()
names = st.sampled_from(MODELS)
versions = st.integers(1, 3)


class Planner(RuleBasedStateMachine):
    """One server's life."""

    @initialize(flag=st.booleans(), inline=st.booleans(), seed=st.integers(0, 999))
    def begin(self, flag: bool, inline: bool, seed: int) -> None:
        self.world = World(labels_flag=flag, inline=inline, seed=seed)
        self.world.wants = {"a": (frozenset({1}), {"stable": 1})}
        self.world.run(6)

    # What people want

    @rule(name=names, some=st.sets(versions, min_size=1), data=st.data())
    def want(self, name: str, some: set[int], data: st.DataObject) -> None:
        labels = {
            label: data.draw(st.sampled_from(sorted(some)))
            for label in ("stable", "canary")
            if data.draw(st.booleans())
        }
        self.world.wants[name] = (frozenset(some), labels)
        self.world.undeployed = False
        self.world.one_pass()

    @rule(name=names)
    def undeploy(self, name: str) -> None:
        if self.world.wants.pop(name, None):
            self.world.undeployed = not self.world.wants
        self.world.one_pass()

    # What storage does

    @rule(name=names, version=versions, seconds=st.sampled_from((0.0, 0.3, 4.0)))
    def hidden_fault(self, name: str, version: int, seconds: float) -> None:
        """A load fails though the files look whole."""
        self.world.disk.corrupt(path_of(name), version, error="bad variables", seconds=seconds)

    @rule(name=names, version=versions)
    def poison(self, name: str, version: int) -> None:
        """A load of it, which takes its time, ends the server."""
        if (name, version) not in self.world.machine.serving:
            self.world.disk.put(path_of(name), version, seconds=8.0)
            self.world.poison.add((name, version))

    @rule()
    def ask_for_poison_beside_others(self) -> None:
        """Of three new names in one push, one ends the server; again and again, until found."""
        world = self.world
        world.wants = {"a": (frozenset({1}), {"stable": 1})}
        world.run(8)
        if any(name != "a" for name, _ in world.machine.serving):
            return
        world.disk.put(path_of("a"), 1)
        world.disk.put(path_of("b"), 1)
        self.poison("c", 1)
        world.wants |= {name: (frozenset({1}), {"stable": 1}) for name in ("b", "c")}
        world.run(30)

    @rule(name=names, version=versions)
    def hollow(self, name: str, version: int) -> None:
        self.world.disk.corrupt(path_of(name), version, error="hollow")

    @rule(name=names, version=versions, seconds=st.sampled_from((0.1, 0.5, 5.0)))
    def repair(self, name: str, version: int, seconds: float) -> None:
        self.world.disk.put(path_of(name), version, seconds=seconds)

    @rule(name=names, version=versions)
    def vanish(self, name: str, version: int) -> None:
        self.world.disk.vanish(path_of(name), version)
        self.world.disturb()

    @rule()
    def lose_a_labelled_version(self) -> None:
        """Its folder goes while the marker stands on another model: a sweep has to find it."""
        world = self.world
        world.wants |= {name: (frozenset({1}), {"stable": 1}) for name in ("a", "b")}
        world.disk.put(path_of("a"), 1)
        world.disk.put(path_of("b"), 1)
        world.run(6)
        world.disk.vanish(path_of("b"), 1)
        world.disturb()
        world.run(3)
        world.observed = replace(world.observed, looked_at=0.0)
        world.one_pass()

    @rule()
    def freeze_discovery(self) -> None:
        """The base path of one model goes when another one is to load."""
        world = self.world
        world.wants |= {name: (frozenset({1}), {}) for name in ("a", "b")}
        world.disk.put(path_of("a"), 1, 2)
        world.disk.put(path_of("b"), 1)
        world.run(6)
        world.disk.vanish(path_of("b"))
        world.disturb()
        world.wants["a"] = (frozenset({1, 2}), {})
        world.run(1)

    @rule(name=names)
    def lose_base_path(self, name: str) -> None:
        self.world.disk.vanish(path_of(name))
        self.world.disturb()

    @rule(name=names, version=versions)
    def unable(self, name: str, version: int) -> None:
        self.world.unable.add((name, version))

    # What servers, networks and other people do

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(name=names, version=versions)
    def restart_with_a_file(self, name: str, version: int) -> None:
        self.world.restart([Entry(name, path_of(name), policy=Specific((version,)))])

    @rule(how=st.sampled_from(("answer-lost", "never-arrives", "arrives-late")))
    def lose_the_next_push(self, how: str) -> None:
        self.world.next_push = how

    @rule()
    def foreign_empty_list(self) -> None:
        self.world.foreign()

    @rule(name=names, some=st.sets(versions, min_size=1))
    def foreign_config(self, name: str, some: set[int]) -> None:
        self.world.foreign(Entry(name, path_of(name), policy=Specific(tuple(sorted(some)))))

    @rule(name=names)
    def foreign_config_again_and_again(self, name: str) -> None:
        """Somebody undoes every config of ours soon after it went out."""
        for _ in range(3):
            self.world.foreign(Entry(name, path_of(name), policy=Specific((1,))))
            self.world.run(5)

    @rule(name=names, version=versions)
    def swap_to_a_bad_version(self, name: str, version: int) -> None:
        self.foreign_swap_to_a_bad_version(name, version)

    def foreign_swap_to_a_bad_version(self, name: str, version: int) -> None:
        """Push `[1]` → `[2]` where 2 fails: every later list with 1 in it is postponed for good."""
        self.world.disk.corrupt(path_of(name), version, error="bad variables")
        self.world.foreign(Entry(name, path_of(name), policy=Specific((version,))))

    @rule()
    def freeze_a_list(self) -> None:
        """After such a swap, 3 never loads beside 1."""
        world = self.world
        world.wants["a"] = (frozenset({1}), {"stable": 1})
        world.run(4)
        self.foreign_swap_to_a_bad_version("a", 2)
        world.run(2)
        world.disk.put(path_of("a"), 1, 3)
        world.wants["a"] = (frozenset({1, 3}), {"stable": 1})
        world.run(14)

    @rule(seconds=st.floats(0.5, 12))
    def hang(self, seconds: float) -> None:
        self.world.hung = True
        self.world.run(seconds)
        self.world.hung = False
        self.world.disturb()

    @rule()
    def kill_the_control_plane(self) -> None:
        self.world.kill_control_plane()

    @rule(seconds=st.floats(0.05, 8))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule()
    def a_moment_passes(self) -> None:
        self.world.pass_time(0.05)
        self.world.one_pass()

    # What must hold

    @invariant()
    def labels_answer_while_nobody_disturbs(self) -> None:
        world = getattr(self, "world", None)
        if world and world.reachable and world.now - world.disturbed_at > 40:
            assert world.labels_answer()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            settle(self.world)
            REACHED.update(self.world.reached)


def settle(world: World) -> None:
    """Leave the world alone until it converges; remove each cause that holds it up."""
    world.next_push = "arrives"
    for _ in range(12):
        plan = world.run(45)
        for _ in range(12):
            if isinstance(plan.action, Blocked | Converged):
                break
            plan = world.run(60)
        if isinstance(plan.action, Converged):
            assert world.truly_converged(), (world.wants, world.machine.serving, world.observed)
            return
        assert isinstance(plan.action, Blocked), f"neither converged nor blocked: {plan.sentence}"
        REACHED[f"blocked: {plan.action.cause}"] += 1
        remove(world, plan.action)
    raise AssertionError("removing causes does not help")


def remove(world: World, blocked: Blocked) -> None:
    """Check that the cause is true, then do what a person would."""
    world.disturb()  # a reload of somebody else that waited for this may be applied now
    words = blocked.why.split()
    match blocked.cause:
        case Cause.BASE_PATH_MISSING | Cause.FILES_MISSING | Cause.FILES_BROKEN:
            assert any(named in blocked.why for named in amiss(world)), blocked.why
            heal_storage(world)
        case Cause.PAUSED:
            assert len(world.observed.flips) >= FLIPS_THAT_PAUSE
            world.taken_over_at = world.now
        case Cause.QUARANTINED:
            assert world.ended_without[words[0], int(words[1])] > 1, blocked.why
            world.poison.clear()
            heal_storage(world)
            world.taken_over_at = world.now
        case Cause.LOAD_FAILED | Cause.UNABLE:
            name, version = words[0], int(words[1])
            failed = world.machine.status(name)[version].error_code != 0
            assert failed or (name, version) in world.unable, blocked.why
            replace_version(world, name, version)
        case Cause.UNREACHABLE | Cause.UNLOAD_OVERDUE | Cause.WEDGED | Cause.POSTPONED:
            if blocked.cause is Cause.UNREACHABLE:
                assert not world.reachable
            if blocked.cause is Cause.UNLOAD_OVERDUE:
                assert (words[0], int(words[1])) in world.machine.serving, "it has gone"
            heal_storage(world)
            world.restart()
        case _:
            raise AssertionError(f"{blocked.cause} should not be possible here: {blocked.why}")


def amiss(world: World) -> list[str]:
    """What of storage is missing or broken, as a sentence would name it."""
    gone = [path_of(name) for name in MODELS if world.disk.children(path_of(name)) is None]
    return gone + [f"{n} {v}" for n in MODELS for v in (1, 2, 3) if faulty(world, n, v)]


def faulty(world: World, name: str, version: int) -> bool:
    children = world.disk.children(path_of(name)) or []
    return str(version) not in children or world.hollow(name, version)


def heal_storage(world: World) -> None:
    for name in MODELS:
        world.disk.put(path_of(name), 1, 2, 3)


def replace_version(world: World, name: str, version: int) -> None:
    """A person repairs the files, undeploys what failed, and asks for it again.

    The last one that serves stays while another is blocked, and the person sees that.
    """
    heal_storage(world)
    world.unable.discard((name, version))
    world.poison.discard((name, version))
    wants = dict(world.wants)
    world.wants.pop(name, None)
    world.undeployed = not world.wants
    plan = world.run(60)
    if isinstance(plan.action, Blocked) and not plan.action.why.startswith(f"{name} "):
        remove(world, plan.action)
        world.run(60)
    world.wants = wants
    world.run(10)


def test_a_failed_version_is_replaced_though_what_serves_beside_it_is_quarantined() -> None:
    state = Planner()
    state.begin(flag=False, inline=False, seed=0)
    state.ask_for_poison_beside_others()
    state.freeze_a_list()
    state.undeploy(name="b")
    state.swap_to_a_bad_version(name="a", version=3)
    settle(state.world)
    assert state.world.machine.serving == {("a", 1), ("a", 3), ("c", 1)}


def test_planner_survives_everything(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.ERROR, "control_plane.devserver")
    examples = int(os.environ.get("PLANNER_EXAMPLES", "300"))
    REACHED.clear()
    run_state_machine_as_test(
        Planner,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        print("".join(f"\n{times:6} × {state}" for state, times in sorted(REACHED.items())))
    assert {state: REACHED[state] for state in HARD_STATES if REACHED[state] < 50} == {}
