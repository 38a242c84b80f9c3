"""Builders for tests of the planner: a server as observed, what is wanted, and the decision.

The modules under test are looked up at call time, so that mutants of them take the same tests.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from control_plane.domain.action import Plan, Reload
from control_plane.domain.assignment import Assignment, Traits, Want
from control_plane.domain.observed import Observed, Presence, Verified, VersionSeen
from control_plane.domain.state import Ability, Able, Config, Marker, ModelConfig, State

NOW = 10_000.0
LONG_AGO = 1_000.0
OWNER = "_cp_owner_i_default"
PROVEN = Able(Ability.PROVEN)
ALL = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9})

Versions = Mapping[int, State | VersionSeen]


def domain(module: str) -> Any:
    """The module of the domain as it is now: the real one, or a mutant."""
    return importlib.import_module(f"control_plane.domain.{module}")


def seen(state: State, since: float = LONG_AGO, error: str = "", **more: Any) -> VersionSeen:
    code = 13 if error else 0
    able = PROVEN if state is State.AVAILABLE else None
    return VersionSeen(state, since, code, error, **({"able": able} | more))


def failed(since: float = LONG_AGO, text: str = "bad variables", **more: Any) -> VersionSeen:
    return seen(State.END, since, text, **more)


def statuses(models: Mapping[str, Versions]) -> dict[str, dict[int, VersionSeen]]:
    return {
        name: {v: one if isinstance(one, VersionSeen) else seen(one) for v, one in some.items()}
        for name, some in models.items()
    }


def entry(name: str, *versions: int, **labels: int) -> ModelConfig:
    return ModelConfig(f"/models/{name}", frozenset(versions), labels)


def config(**models: ModelConfig) -> Config:
    return Config(models)


def running(of: Config, models: Mapping[str, Versions], **more: Any) -> Observed:
    """A server whose config is verified since long ago, with these statuses."""
    known = statuses(models)
    places = [
        Marker(name, v)
        for name, some in known.items()
        for v in some
        if some[v].state is State.AVAILABLE
    ]
    marker = next(iter(sorted(places, key=lambda one: (one.model, one.version))), None)
    proven = {name: dict(one.labels) for name, one in of.models.items()}
    fields: dict[str, Any] = {"verified": Verified(of, marker, LONG_AGO), "proven": proven} | more
    return Observed(at=NOW, looked_at=NOW, reachable=True, models=known, **fields)


def strange(models: Mapping[str, Versions], **more: Any) -> Observed:
    """A server whose config is not verified, quiet since long ago."""
    fields = {"quiet_since": LONG_AGO} | more
    return Observed(at=NOW, looked_at=NOW, reachable=True, models=statuses(models), **fields)


def want(name: str, *versions: int, **labels: int) -> Want:
    return Want(f"/models/{name}", frozenset(versions), labels)


def assigned(traits: Traits | None = None, /, **models: Want) -> Assignment:
    return Assignment(models, OWNER, traits=traits or Traits())


def there(*names: str, **presences: Presence) -> dict[str, Presence]:
    """Storage where every version of these models is complete."""
    return {name: Presence(True, ALL) for name in names} | presences


def plan(
    wanted: Assignment,
    observed: Observed,
    storage: Mapping[str, Presence] | None = None,
    now: float = NOW,
) -> Plan:
    storage = there(*wanted.models, *observed.models) if storage is None else storage
    decided: Plan = domain("planner").plan_server(wanted, observed, storage, now)
    return decided


def pushed(decided: Plan) -> dict[str, tuple[set[int], dict[str, int]]]:
    """The config that goes out: model -> (versions, labels); empty where none does."""
    if not isinstance(decided.action, Reload):
        return {}
    models = decided.action.config.models.items()
    return {name: (set(one.versions), dict(one.labels)) for name, one in models}
