"""Turns what a fleet should serve at one moment into what each of its servers is given to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

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
    _wants: list[Mapping[str, Want]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def wants(self) -> Mapping[str, Want]:
        """What most of its servers are given: made once, and the same object for all of them."""
        if not self._wants:
            self._wants.append(self.wanted(self.targets))
        return self._wants[0]

    def wanted(self, targets: Mapping[str, StepTarget]) -> dict[str, Want]:
        """Return these targets as a server is given them."""
        by_model = {model: one for model, one in self._rollouts() if model in targets}
        return {
            model: Want(
                base_path=self.base_paths[model],
                versions=target.versions,
                labels=target.labels,
                urgent=target.urgent,
                moving=_moving(by_model.get(model)),
                group=_group(by_model.get(model)),
                room=target.room,
            )
            for model, target in targets.items()
        }

    def _rollouts(self) -> Iterator[tuple[str, Rollout]]:
        return ((model, one) for one, _, _ in self.live for model in one.models)


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
    models = _wants(goal, targets_of(server.name, goal.targets, goal.live), elsewhere)
    return Assignment(
        models=models,
        owner=owner,
        taken_over=server.taken_over or goal.fleet.take_over == "always",
        taken_over_at=server.taken_over_at.timestamp() if server.taken_over_at else 0.0,
        has_revisions=goal.fleet.head > 0,
        may_empty=goal.fleet.head > 0 and not models,
        traits=traits_of(server.flags, opaque=goal.fleet.storage == "opaque"),
        on_drift=goal.fleet.on_drift,
        rereads=bool(server.flags.model_config_file_poll_wait_seconds),
    )


def _wants(
    goal: Goal, targets: Mapping[str, StepTarget], elsewhere: Elsewhere
) -> Mapping[str, Want]:
    """What all are given, but for what this server got before others and what it failed to load."""
    own = {name: one for name, one in targets.items() if goal.targets.get(name) is not one}
    wants = {**goal.wants, **goal.wanted(own)} if own else goal.wants
    failed = {
        name: replace(wants[name], elsewhere=versions)
        for name, versions in elsewhere.items()
        if name in wants
    }
    return {**wants, **failed} if failed else wants


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
