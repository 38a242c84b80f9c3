"""What one server should serve, put together from its fleet's desired state; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.domain import standing
from control_plane.domain.assignment import LOAD_ESTIMATE_S, Assignment, Traits, Want
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.revision import Deployment
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.state import OWNER_PREFIX
from control_plane.domain.steps import State, StepTarget, step_key, targets_of

Heads = Mapping[str, tuple[Deployment, int]]  # with the revision that last changed each
Elsewhere = Mapping[str, frozenset[int]]  # by model: AVAILABLE on another server of the fleet


@dataclass(frozen=True, slots=True)
class Live:
    """A live rollout with the deployments of its models before and after it."""

    rollout: Rollout
    before: State
    after: State

    @property
    def key(self) -> str:
        """The step under way."""
        return step_key(self.rollout)

    @property
    def begun(self) -> bool:
        """Whether that step has started."""
        step = self.rollout.step
        return step is not None and step.started_at is not None

    @property
    def judged(self) -> bool:
        """Whether the step under way is a gate."""
        step = self.rollout.step
        return step is not None and step.name is StepName.GATE and step.begun


@dataclass(frozen=True, slots=True)
class Desired:
    """What a fleet should serve, from one read of the database."""

    fleet: Fleet
    servers: Mapping[str, Server]
    heads: Heads
    live: tuple[Live, ...]
    targets: Mapping[str, StepTarget]
    base_paths: Mapping[str, str]  # as the servers see them

    @property
    def stamp(self) -> tuple[int, tuple[str, ...]]:
        """What tells this desired state from the next."""
        return self.fleet.head, tuple(one.key for one in self.live)

    @property
    def begun(self) -> frozenset[str]:
        """The steps that have started, by key."""
        return frozenset(one.key for one in self.live if one.begun)

    def basis(self, server: str) -> tuple[object, ...]:
        """What a plan for this server is made from; equal where the plan would be."""
        return self.fleet, self.servers.get(server), self.stamp, self.begun

    @property
    def to_prove(self) -> Mapping[str, frozenset[int]]:
        """The versions that have to answer one request before labels may move to them."""
        found: dict[str, frozenset[int]] = {}
        for one in self.live:
            found |= standing.to_prove(one.rollout, one.before, one.after)
        return found

    @property
    def ours(self) -> tuple[Server, ...]:
        """The servers that were taken over."""
        return tuple(one for one in self.servers.values() if self.may_push(one))

    def may_push(self, server: Server) -> bool:
        """Whether somebody took this server over."""
        return server.taken_over or self.fleet.take_over == "always"

    def targets_of(self, server: str) -> Mapping[str, StepTarget]:
        """What one server should serve: what all do, and what steps gave it before others."""
        journeys = [(one.rollout, one.before, one.after) for one in self.live]
        return targets_of(server, self.targets, journeys)

    def rollout(self, name: str) -> Live | None:
        """Return a live rollout by its id."""
        return next((one for one in self.live if one.rollout.id == name), None)


def assignment(desired: Desired, server: Server, elsewhere: Elsewhere, owner: str) -> Assignment:
    """Return all that a server should serve, and what we may do to bring it there."""
    by_model = {model: one.rollout for one in desired.live for model in one.rollout.models}
    models = {
        model: Want(
            base_path=desired.base_paths[model],
            versions=target.versions,
            labels=target.labels,
            urgent=target.urgent,
            moving=_moving(by_model.get(model)),
            group=_group(by_model.get(model)),
            elsewhere=elsewhere.get(model, frozenset()),
        )
        for model, target in desired.targets_of(server.name).items()
    }
    return Assignment(
        models=models,
        owner=owner,
        taken_over=desired.may_push(server),
        taken_over_at=server.taken_over_at.timestamp() if server.taken_over_at else 0.0,
        has_revisions=desired.fleet.head > 0,
        may_empty=desired.fleet.head > 0 and not models,
        traits=traits(server.flags, opaque=desired.fleet.storage == "opaque"),
    )


def owner_label(installation: str, fleet: str) -> str:
    """Return the marker label that says whose config a server runs."""
    return f"{OWNER_PREFIX}{installation}_{fleet}"


def traits(flags: ServerFlags, *, opaque: bool) -> Traits:
    """Return how a server behaves; what nobody told is guessed carefully."""
    guess = Traits()
    poll_s = flags.file_system_poll_wait_seconds
    retries, pause_us = flags.max_num_load_retries, flags.load_retry_interval_micros
    attempts = (5 if retries is None else max(retries, 0)) + 1
    pause_s = 60.0 if pause_us is None else max(pause_us, 0) / 1e6
    return Traits(
        labels_flag=flags.allow_version_labels_for_unavailable_models is True,
        inline_loads=not flags.num_load_threads,
        poll_s=guess.poll_s if poll_s is None or poll_s <= 0 else poll_s,
        opaque=opaque,
        load_budget_s=attempts * (pause_s + LOAD_ESTIMATE_S),
    )


def _moving(rollout: Rollout | None) -> bool:
    """Whether a rollout stands between load and verify."""
    step = rollout.step if rollout else None
    moves = (StepName.CANARY, StepName.PROMOTE)
    return step is not None and step.name in moves and step.phase is not Phase.PENDING


def _group(rollout: Rollout | None) -> str:
    return rollout.id if rollout and len(rollout.models) > 1 else ""
