"""What a rollout would send to one server: its steps walked with the planner that the loop uses.

The server is ideal: it takes every config, every load succeeds, every version answers, and time
passes whenever the planner waits. Instants play no part, so the same server gives the same plan
whenever it is asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from control_plane.domain.action import Blocked, Cause, Converged, Plan, Reload, Wait
from control_plane.domain.assigned import Elsewhere, Goal, assigned
from control_plane.domain.assignment import Assignment, Traits
from control_plane.domain.fleet import Server
from control_plane.domain.ideal import (
    BEGIN,
    Pairs,
    after,
    answering,
    endings,
    highest,
    loaded,
    settled,
    timeless,
)
from control_plane.domain.observed import Instant, Observed
from control_plane.domain.planner import plan_server
from control_plane.domain.reach import Reach
from control_plane.domain.rollout import Rollout, Step, StepName
from control_plane.domain.server_view import Storage
from control_plane.domain.standing import Asked, Standpoint, fact, to_prove, unproven
from control_plane.domain.state import Config, Marker
from control_plane.domain.steps import StepTarget, step_key, targets_of

MOST_RELOADS = 50
MOST_PASSES = 200  # in one step; each push takes a few
LOCK_S = 0.2  # how long the server's config lock is held for each name that a reload adds


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a rollout, as one server is given it."""

    rollout: Rollout  # as it stands while the step is under way
    step: Step
    targets: Mapping[str, StepTarget]
    to_prove: Mapping[str, frozenset[int]]  # what has to answer before the step is done
    assignment: Assignment


def stages(
    goals: Iterable[Goal], server: Server, elsewhere: Elsewhere, owner: str
) -> tuple[Stage, ...]:
    """Return the steps of a course as one server is given them."""
    return tuple(
        Stage(
            goal.live[-1][0],
            step,
            targets_of(server.name, goal.targets, goal.live),
            to_prove(*goal.live[-1]),
            assigned(goal, server, elsewhere, owner),
        )
        for goal in goals
        if (step := goal.live[-1][0].step) is not None
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """A config as it goes out."""

    config: Config
    marker: Marker | None


@dataclass(frozen=True, slots=True)
class PlannedReload:
    """One reload to come."""

    step: str
    number: int  # of the step: a name may come twice
    why: str
    config: Sent
    before: Sent | None  # None: what the server runs before is not known
    waits_for: tuple[str, ...]  # what has to be seen before it goes out
    names_added: tuple[str, ...]
    loads: Pairs
    unlabelled: Mapping[str, tuple[int | None, int | None]]  # by model: before, and when it is done

    @property
    def lock_s(self) -> float:
        """How long the server's config lock is held at least, while other reloads wait."""
        return round(LOCK_S * len(self.names_added), 1)

    @property
    def warm(self) -> bool:
        """Whether it loads nothing: its effect is immediate."""
        return not self.loads


@dataclass(frozen=True, slots=True)
class Preview:
    """All that a rollout would do to one server, in order."""

    reloads: tuple[PlannedReload, ...]
    end: Converged | Wait | Blocked  # how its last step ends
    waits_for: tuple[str, ...]  # after the last reload
    peak: Pairs  # what is loaded at the moment that takes the most memory


def preview(
    stages: Sequence[Stage],
    observed: Observed,
    storage: Storage | None = None,
    sizes: Mapping[tuple[str, int], int] | None = None,
) -> Preview:
    """Walk a rollout's steps on a server as it was last seen, and return what would be sent.

    Args:
        stages: the steps, in order.
        observed: what is known of the server; one that does not answer is taken to be as it was.
        storage: what is known of the artifacts of models that move; None: they are all right.
        sizes: bytes on disk by model and version, to find the moment of the most memory.
    """
    return _walked(stages, timeless(observed), storage, sizes or {})


def previews(
    servers: Mapping[str, tuple[Sequence[Stage], Observed]],
    storage: Storage | None = None,
    sizes: Mapping[tuple[str, int], int] | None = None,
) -> dict[str, Preview]:
    """Preview a whole fleet by server; servers that are alike share one preview."""
    known: list[tuple[Sequence[Stage], Observed, Preview]] = []
    found: dict[str, Preview] = {}
    for name, (stages, observed) in servers.items():
        seen = timeless(observed)
        alike = (one for its, was, one in known if its is stages and was == seen)
        told = next(alike, None)
        if told is None:
            told = _walked(stages, seen, storage, sizes or {})
            known.append((stages, seen, told))
        found[name] = told
    return found


def _walked(
    stages: Sequence[Stage],
    observed: Observed,
    storage: Storage | None,
    sizes: Mapping[tuple[str, int], int],
) -> Preview:
    walk = _Walk(observed, storage, sizes)
    walk.weigh()
    end: Converged | Wait | Blocked = Converged()
    for number, stage in enumerate(stages):
        walk.number = number
        end = walk.through(stage)
        if not isinstance(end, Converged):
            break
        walk.waits.append(_barrier(stage))
    barriers = [_barrier(one) for one in stages]
    left = tuple(one for one in walk.waits if one not in barriers)
    return Preview(tuple(walk.reloads), end, left, walk.peak)


def _barrier(stage: Stage) -> str:
    """What the end of a step waits for, beyond what shows on this server."""
    step = stage.step
    match step.name:
        case StepName.BAKE | StepName.DRAIN:
            return f"{step.name} of {step.spec['seconds']:g} s"
        case StepName.GATE:
            return f"gate {step.spec.get('name', '')}"
        case StepName.APPROVE:
            return f"{step.spec.get('count', 1)} approvals"
        case _:
            return f"{step.name} done on {', '.join(step.servers)}"


@dataclass(slots=True)
class _Walk:
    """One server on its way through the steps."""

    observed: Observed
    storage: Storage | None
    sizes: Mapping[tuple[str, int], int]
    now: Instant = BEGIN
    number: int = 0  # of the step under way
    reloads: list[PlannedReload] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)  # since the last reload
    peak: Pairs = frozenset()
    peak_bytes: int = -1

    def through(self, stage: Stage) -> Converged | Wait | Blocked:
        """Go on until the rollout's models are there, or say what stops it."""
        for _ in range(MOST_PASSES):
            plan = self.plan(stage)
            if isinstance(plan.action, Reload):
                if len(self.reloads) == MOST_RELOADS:
                    return Wait(f"more than {MOST_RELOADS} reloads", self.now)
                self.push(stage, plan.action)
            elif end := _end(stage, plan, self.observed):
                return end
            elif isinstance(plan.action, Wait):
                self.wait(plan.action, stage.assignment.traits)
        return Wait("it does not come to an end", self.now)

    def plan(self, stage: Stage) -> Plan:
        """Decide, and decide again when versions that have to answer have answered."""
        plan = plan_server(stage.assignment, self.observed, self.storage, self.now)
        asked = plan.ask or _early(stage, plan, self.observed)
        if not asked:
            return plan
        self.observed = answering(self.observed, asked)
        self.waits += [f"{name} {version} answers one request" for name, version in asked]
        return plan_server(stage.assignment, self.observed, self.storage, self.now)

    def push(self, stage: Stage, push: Reload) -> None:
        """Send a reload."""
        before = self.observed
        self.now += 1
        self.observed = after(before, push, stage.assignment, self.now)
        verified = before.verified
        self.reloads.append(
            PlannedReload(
                step=str(stage.step.name),
                number=self.number,
                why=push.why,
                config=Sent(push.config, push.marker),
                before=Sent(verified.config, verified.marker) if verified else None,
                waits_for=tuple(self.waits),
                names_added=tuple(sorted(push.names_added)),
                loads=loaded(self.observed) - loaded(before),
                unlabelled=_callers(before, self.observed, push.config),
            )
        )
        self.waits.clear()
        self.weigh()

    def wait(self, wait: Wait, traits: Traits) -> None:
        """Let loads and unloads come to their ends, and time pass."""
        self.now += max(wait.look_again_s, traits.settle_s)
        ends = endings(self.observed)
        self.observed = settled(self.observed, ends, self.now)
        shown = [f"{name} {version} {ends[name, version].name}" for name, version in sorted(ends)]
        self.waits += shown or [wait.why]

    def weigh(self) -> None:
        """Remember the moment of the most memory."""
        there = loaded(self.observed)
        size_bytes = sum(self.sizes.get(one, 0) for one in there)
        if size_bytes > self.peak_bytes:
            self.peak, self.peak_bytes = there, size_bytes


def _early(stage: Stage, plan: Plan, observed: Observed) -> tuple[Asked, ...]:
    """What has to answer though no label moves yet."""
    idle = isinstance(plan.action, Converged | Wait) and plan.models
    return unproven(observed, stage.to_prove) if idle else ()


def _end(stage: Stage, plan: Plan, observed: Observed) -> Converged | Blocked | None:
    """How the step ends on this server; None: not yet."""
    key = step_key(stage.rollout)
    at = Standpoint(plan, observed, stage.targets, frozenset({key}), stage.to_prove)
    found = fact(stage.rollout, key, at)
    if found.reach is Reach.REACHED or (isinstance(plan.action, Converged) and not plan.models):
        return Converged()
    if isinstance(plan.action, Blocked):
        return plan.action
    return Blocked(Cause.UNABLE, found.words) if found.reach is Reach.FAILED else None


def _callers(
    before: Observed, now: Observed, config: Config
) -> dict[str, tuple[int | None, int | None]]:
    """Which version callers without a label get, of the models of which something changes."""
    old = before.verified.config.models if before.verified else {}
    changed = {
        name
        for name in {**old, **config.models}
        if name not in old or name not in config.models or old[name] != config.models[name]
    }
    return {name: (highest(before, name), highest(now, name)) for name in sorted(changed)}
