"""Turns what a fleet should serve at one moment into what each of its servers is given to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from control_plane.domain.assignment import LOAD_ESTIMATE_S, Assignment, Traits, Want
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.revision import Deployment
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.state import OWNER_PREFIX
from control_plane.domain.steps import (
    Journey,
    StepTarget,
    covered,
    desired_models,
    started,
    stepped,
    targets_of,
)

Elsewhere = Mapping[str, frozenset[int]]  # by model: AVAILABLE on another server of the fleet


@dataclass(frozen=True, slots=True)
class Goal:
    """What a fleet should serve at one moment."""

    fleet: Fleet
    targets: Mapping[str, StepTarget]  # what all servers should serve
    live: tuple[Journey, ...]
    base_paths: Mapping[str, str]  # as the servers see them


@dataclass(frozen=True, slots=True)
class Course:
    """What a fleet is to serve, from the start of a rollout to its end."""

    fleet: Fleet
    head: Mapping[str, Deployment]
    journey: Journey
    others: tuple[Journey, ...]  # live rollouts of other models; they stay where they are
    base_paths: Mapping[str, str]
    servers: tuple[str, ...]

    def goals(self) -> tuple[Goal, ...]:
        """Return what the fleet should serve in each step, one after the other."""
        rollout, before, after = self.journey
        fleet = replace(self.fleet, head=rollout.to_revision)
        goals = []
        for at in _itinerary(rollout, self.servers):
            live = (*self.others, (at, before, after))
            goals.append(Goal(fleet, desired_models(self.head, live), live, self.base_paths))
        return tuple(goals)


def _itinerary(rollout: Rollout, servers: tuple[str, ...]) -> Iterator[Rollout]:
    """The rollout as it stands while each of its steps is under way."""
    while rollout.step is not None:
        yield rollout
        rollout = stepped(rollout, rollout.created_at)
        if rollout.step is not None:
            rollout = started(rollout, covered(rollout, servers), rollout.created_at)


def assigned(goal: Goal, server: Server, elsewhere: Elsewhere, owner: str) -> Assignment:
    """Return all that a server should serve, and what may be done to bring it there."""
    by_model = {model: one for one, _, _ in goal.live for model in one.models}
    models = {
        model: Want(
            base_path=goal.base_paths[model],
            versions=target.versions,
            labels=target.labels,
            urgent=target.urgent,
            moving=_moving(by_model.get(model)),
            group=_group(by_model.get(model)),
            elsewhere=elsewhere.get(model, frozenset()),
        )
        for model, target in targets_of(server.name, goal.targets, goal.live).items()
    }
    return Assignment(
        models=models,
        owner=owner,
        taken_over=server.taken_over or goal.fleet.take_over == "always",
        taken_over_at=server.taken_over_at.timestamp() if server.taken_over_at else 0.0,
        has_revisions=goal.fleet.head > 0,
        may_empty=goal.fleet.head > 0 and not models,
        traits=traits_of(server.flags, opaque=goal.fleet.storage == "opaque"),
    )


def owner_label(installation: str, fleet: str) -> str:
    """Return the marker label that says whose config a server runs."""
    return f"{OWNER_PREFIX}{installation}_{fleet}"


def traits_of(flags: ServerFlags, *, opaque: bool) -> Traits:
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
