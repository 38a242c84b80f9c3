"""Row p: what 100 models on 50 servers cost to think about, and nothing else: no server, no disk.

One moment of a rollout: what should be, what is wanted of every server, a plan for each from its
own observation, a fact from each plan, and one `advance`. Once with one model on its way and all
others as they should be, once with every model on its way.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.table import Row, middle, seconds
from control_plane.domain import standing
from control_plane.domain.action import Reload
from control_plane.domain.advance import Facts, advance
from control_plane.domain.assigned import Goal, assigned, owner_label
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.observed import Observed, Verified, VersionSeen
from control_plane.domain.planner import plan_server
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout, StepName
from control_plane.domain.standing import Standpoint
from control_plane.domain.state import Ability, Able, Config, Marker, ModelConfig
from control_plane.domain.state import State as VersionState
from control_plane.domain.steps import (
    Journey,
    desired_models,
    started,
    step_key,
    stepped,
    steps_for,
    targets_of,
)

MODELS, SERVERS = 100, 50
MOST_S = 0.020
ROUNDS = 25
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_OWNER = owner_label("bench", "default")
_NAMES = tuple(f"m{number:03}" for number in range(MODELS))
_LOADED = {"old": frozenset({1, 2}), "all": frozenset({1, 2, 3})}


@dataclass(frozen=True, slots=True)
class Moment:
    """A fleet in the middle of a rollout."""

    fleet: Fleet
    head: Mapping[str, Deployment]
    journey: Journey
    servers: Mapping[str, Server]
    observed: Mapping[str, Observed]


async def measure(_home: Path) -> list[Row]:
    """Measure the situations one after the other, in CPU time of this process."""
    one, every = _NAMES[:1], _NAMES
    return [
        _row("one model moves its label", _moment(one, StepName.PROMOTE)),
        _row("every model moves its label", _moment(every, StepName.PROMOTE)),
        _row("every model loads a version", _moment(every, StepName.LOAD)),
    ]


def _row(what: str, moment: Moment) -> Row:
    took_s = middle([_thought_s(moment) for _ in range(ROUNDS)])
    shown = f"plans: {SERVERS} servers × {MODELS} models, {what}"
    ratio = took_s / MOST_S
    return Row("p", shown, seconds(took_s), seconds(MOST_S), ratio, "≤ 1", took_s <= MOST_S)


def _thought_s(moment: Moment) -> float:
    began = time.process_time()
    rollout, before, after = moment.journey
    key, live = step_key(rollout), (moment.journey,)
    targets = desired_models(moment.head, live, dict.fromkeys(moment.head, 1))
    goal = Goal(moment.fleet, targets, live, {name: f"/models/{name}" for name in moment.head})
    proofs = standing.to_prove(rollout, before, after)
    facts = {}
    for name, server in moment.servers.items():
        given, seen = assigned(goal, server, {}, _OWNER), moment.observed[name]
        plan = plan_server(given, seen, None, _NOW.timestamp())
        if not isinstance(plan.action, Reload):
            raise TypeError(plan.sentence)
        own = targets_of(name, targets, live)
        at = Standpoint(plan, seen, own, frozenset({key}), proofs)
        facts[name] = standing.fact(rollout, key, at)
    advance(rollout, Facts(facts, key=key), _NOW)
    return time.process_time() - began


def _moment(moving: tuple[str, ...], at: StepName) -> Moment:
    """A promotion of some of the models in this step, which no server has reached."""
    held = {name: Deployment(name, _LOADED["old"], {"stable": 1}) for name in _NAMES}
    before = {name: held[name] for name in moving}
    after = {
        name: replace(one, versions=_LOADED["all"], labels={"stable": 3})
        for name, one in before.items()
    }
    servers = {
        f"s{number:02}": Server(
            "default",
            f"s{number:02}",
            f"10.0.0.{number}:8500",
            _NOW,
            taken_over=True,
            flags=ServerFlags(num_load_threads=4),
        )
        for number in range(SERVERS)
    }
    loaded = moving if at is StepName.PROMOTE else ()
    return Moment(
        fleet=Fleet("default", _NOW, head=2),
        head={**held, **after},
        journey=(_under_way(tuple(servers), before, after, at), before, after),
        servers=servers,
        observed={name: _seen(loaded, age_s) for age_s, name in enumerate(servers, 100)},
    )


def _under_way(
    servers: tuple[str, ...],
    before: Mapping[str, Deployment],
    after: Mapping[str, Deployment],
    at: StepName,
) -> Rollout:
    rollout = Rollout(
        id="one",
        fleet="default",
        models=tuple(sorted(after)),
        kind=Kind.PROMOTE,
        from_revision=1,
        to_revision=2,
        phase=Phase.PENDING,
        sentence="",
        steps=steps_for(Kind.PROMOTE, before, after),
        created_at=_NOW,
        deadline_at=_NOW + timedelta(hours=1),
        actor="bench",
        label="stable",
    )
    rollout = started(rollout, servers, _NOW)
    while rollout.step is not None and rollout.step.name is not at:
        rollout = started(stepped(rollout, _NOW), servers, _NOW)
    return rollout


def _seen(loaded: tuple[str, ...], age_s: int) -> Observed:
    """A server that runs what it was given `age_s` ago; `loaded` have their new version too."""
    since, proven = _NOW.timestamp() - age_s, Able(Ability.PROVEN)
    versions = {name: _LOADED["all" if name in loaded else "old"] for name in _NAMES}
    return Observed(
        at=since + age_s,
        looked_at=since + age_s,
        reachable=True,
        models={
            name: {
                version: VersionSeen(VersionState.AVAILABLE, since, served=True, able=proven)
                for version in some
            }
            for name, some in versions.items()
        },
        verified=Verified(
            Config({n: ModelConfig(f"/models/{n}", v, {"stable": 1}) for n, v in versions.items()}),
            Marker(_NAMES[0], 1),
            since,
        ),
        proven={name: {"stable": 1} for name in _NAMES},
    )
