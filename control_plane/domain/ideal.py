"""A server on which everything goes well: what is known of it after each thing that is done to it.

It takes every config, every load succeeds and every version answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from control_plane.domain.action import Reload
from control_plane.domain.assignment import Assignment
from control_plane.domain.evidence import REFUSING, sent, verify
from control_plane.domain.observed import (
    Failure,
    Instant,
    Intent,
    Observed,
    Statuses,
    VersionSeen,
)
from control_plane.domain.state import Ability, Able, Config, State

BEGIN: Instant = 1_000_000.0  # when a walk begins; what lies before it is long ago
_PROVEN = Able(Ability.PROVEN)
_COMING = (State.START, State.LOADING)
_MOVING = (*_COMING, State.UNLOADING)
_LOADED = (*_MOVING, State.AVAILABLE)
_NOT_TAKEN = (*REFUSING, "RESOURCE_EXHAUSTED")
Pairs = frozenset[tuple[str, int]]  # models and versions


def timeless(observed: Observed) -> Observed:
    """What is known of a server, as if nothing had moved for long; an open reload was taken."""
    models = {
        name: {version: _ageless(one) for version, one in versions.items()}
        for name, versions in observed.models.items()
    }
    refusal, verified, intent = observed.refusal, observed.verified, observed.intent
    known = Observed(
        at=BEGIN,
        looked_at=BEGIN,
        reachable=True,
        models=models,
        labels=observed.labels,
        verified=replace(verified, at=BEGIN) if verified else None,
        proven=observed.proven,
        foreign=observed.foreign,
        restarted_at=1.0 if observed.restarted_at else 0.0,
        marker_gone=observed.marker_gone,
        other_writer_since=observed.other_writer_since,
        wedged=observed.wedged,
        refusal=replace(refusal, at=0.0) if refusal else None,
        failures={
            name: {version: Failure(one.count, 0.0) for version, one in some.items()}
            for name, some in observed.failures.items()
        },
    )
    if intent and not (intent.answer and intent.answer.code in _NOT_TAKEN):
        taken = replace(known, models=_begun(models, _held(known), intent.config, BEGIN))
        return verify(taken, replace(intent, sent_at=0.0), BEGIN)
    return known


def _ageless(one: VersionSeen) -> VersionSeen:
    return _seen(one.state, one.error_code, one.error, one.served, one.able)


@lru_cache(maxsize=1024)
def _seen(state: State, code: int, error: str, served: bool, able: Able | None) -> VersionSeen:
    return VersionSeen(state, BEGIN if state in _MOVING else 0.0, code, error, served, able)


def after(observed: Observed, push: Reload, assignment: Assignment, now: Instant) -> Observed:
    """What is known when a reload was taken: its loads and unloads have begun.

    Its call returns when a version of each new name is AVAILABLE; the highest loads first.
    """
    intent = Intent(push.config, push.marker, push.names_added, now)
    wanted = {name: one.versions for name, one in assignment.models.items()}
    held = _held(observed)
    known = sent(observed, intent, held, wanted)
    models = _begun(observed.models, held, push.config, now)
    for name in push.names_added:
        first = max(push.config.models[name].versions)
        models[name] = {**models[name], first: _available(now)}
    return verify(replace(known, models=models), intent, now)


def _held(observed: Observed) -> dict[str, frozenset[int]]:
    if observed.verified:
        return {name: one.versions for name, one in observed.verified.config.models.items()}
    return {
        name: frozenset(v for v, one in versions.items() if one.state in _LOADED)
        for name, versions in observed.models.items()
    }


def _begun(
    models: Statuses, held: Mapping[str, frozenset[int]], config: Config, now: Instant
) -> dict[str, Mapping[int, VersionSeen]]:
    """The statuses when a config was taken; where nothing begins they stay as they are."""
    found: dict[str, Mapping[int, VersionSeen]] = {}
    nothing: Mapping[int, VersionSeen] = {}
    for name in {**models, **config.models}:
        seen = models.get(name, nothing)
        wanted = config.models[name].versions if name in config.models else frozenset[int]()
        leaving = {v for v, one in seen.items() if v not in wanted and one.state in _LOADED}
        coming = wanted - held.get(name, frozenset()) | wanted - seen.keys()
        begun = {v: VersionSeen(State.UNLOADING, now) for v in leaving}
        begun |= {v: VersionSeen(State.START, now) for v in coming}
        found[name] = {**seen, **begun} if begun else seen
    return found


def _available(now: Instant) -> VersionSeen:
    return VersionSeen(State.AVAILABLE, now, served=True)


def endings(observed: Observed) -> dict[tuple[str, int], State]:
    """How every load and unload under way ends."""
    return dict(_endings(observed))


def _endings(observed: Observed) -> Iterator[tuple[tuple[str, int], State]]:
    held = observed.verified.config.models if observed.verified else None
    for name, versions in observed.models.items():
        for version, one in versions.items():
            if one.state in _MOVING:
                wanted = held is None or (name in held and version in held[name].versions)
                loads = one.state in _COMING and wanted
                yield (name, version), State.AVAILABLE if loads else State.END


def settled(observed: Observed, ends: Mapping[tuple[str, int], State], now: Instant) -> Observed:
    """What is known when loads and unloads have ended so."""
    models = dict(observed.models)
    for (name, version), state in ends.items():
        one = _available(now) if state is State.AVAILABLE else VersionSeen(State.END, now)
        models[name] = {**models[name], version: one}
    return replace(observed, models=models)


def answering(observed: Observed, asked: tuple[tuple[str, int], ...]) -> Observed:
    """What is known when each of these versions has answered its one request."""
    models = dict(observed.models)
    for name, version in asked:
        models[name] = {**models[name], version: replace(models[name][version], able=_PROVEN)}
    return replace(observed, models=models)


def loaded(observed: Observed) -> Pairs:
    """Everything that takes memory on the server."""
    return frozenset(
        (name, version)
        for name, versions in observed.models.items()
        for version, one in versions.items()
        if one.state in _LOADED
    )


def highest(observed: Observed, model: str) -> int | None:
    """The version that callers without a label get, when what loads is loaded."""
    served = (*_COMING, State.AVAILABLE)
    seen = observed.models.get(model, {})
    return max((v for v, one in seen.items() if one.state in served), default=None)
