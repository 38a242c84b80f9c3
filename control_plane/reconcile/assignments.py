"""What a fleet should serve, with its live rollouts, from one read of the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from control_plane.domain import standing
from control_plane.domain.assigned import Goal
from control_plane.domain.fleet import Fleet, Server, counted
from control_plane.domain.revision import Deployment
from control_plane.domain.rollout import Rollout
from control_plane.domain.steps import State, StepTarget, step_key, targets_of

Heads = Mapping[str, tuple[Deployment, int]]  # with the revision that last changed each


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


@dataclass(frozen=True, slots=True)
class Desired:
    """What a fleet should serve, from one read of the database."""

    fleet: Fleet
    servers: Mapping[str, Server]
    heads: Heads
    live: tuple[Live, ...]
    targets: Mapping[str, StepTarget]
    base_paths: Mapping[str, str]  # as the servers see them
    registered: tuple[str, ...] = ()  # every model there is, where a server is not ours yet
    _goal: list[Goal] = field(default_factory=list, init=False, repr=False, compare=False)

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

    def counted(self, live: Live) -> tuple[Server, ...]:
        """The servers that a rollout goes by: who was just found is in no first step's set."""
        begun = any(one.begun for one in live.rollout.steps)
        return self.ours if begun else counted(self.ours)

    def may_push(self, server: Server) -> bool:
        """Whether somebody took this server over."""
        return server.taken_over or self.fleet.take_over == "always"

    @property
    def goal(self) -> Goal:
        """What each server is to be given of it; one for all, since it keeps what they share."""
        if not self._goal:
            journeys = tuple((one.rollout, one.before, one.after) for one in self.live)
            self._goal.append(Goal(self.fleet, self.targets, journeys, self.base_paths))
        return self._goal[0]

    def targets_of(self, server: str) -> Mapping[str, StepTarget]:
        """What one server should serve: what all do, and what steps gave it before others."""
        return targets_of(server, self.targets, self.goal.live)

    def rollout(self, name: str) -> Live | None:
        """Return a live rollout by its id."""
        return next((one for one in self.live if one.rollout.id == name), None)
