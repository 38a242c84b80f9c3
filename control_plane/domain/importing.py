"""An existing `models.config` as deployments: what it lists, by what servers show of it; pure.

What a server shows is true, what the file says is a hint: it may be old, and labels pushed since
stand nowhere but on the server. Nothing that is resolved here changes what any server serves.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from control_plane.domain.action import Blocked, Converged, Reload, Wait
from control_plane.domain.assignment import Assignment
from control_plane.domain.errors import FieldInvalid, ServersDiffer, StillLoading
from control_plane.domain.observed import Instant, Observed
from control_plane.domain.planner import plan_server
from control_plane.domain.revision import Deployment
from control_plane.domain.state import Config, State

ONLY_MARKERS = "no changes but our markers"
_HINT = "name one of them as `server`, and it alone is looked at"


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of a config file."""

    name: str
    base_path: str
    versions: frozenset[int] | None  # None: a policy that follows what lies in storage
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one server shows of a model."""

    versions: frozenset[int]  # that are AVAILABLE
    labels: Mapping[str, int]  # those asked for that answer
    loading: frozenset[int] = frozenset()  # that are on their way: START or LOADING


Sightings = Mapping[str, Mapping[str, Shown]]  # by server that answers, and model


@dataclass(frozen=True, slots=True)
class Resolution:
    """The deployments of a file, and what of the file they leave out."""

    deployments: Mapping[str, Deployment]
    warnings: tuple[str, ...]


def resolved(listed: Iterable[Listed], seen: Sightings) -> Resolution:
    """Return what a fleet serves of the models that a file lists.

    Raises:
        StillLoading: a server has yet to load a version; without it the import would lose it.
        ServersDiffer: two servers do not serve the same of a model.
        FieldInvalid: no server answers, and the file does not name a model's versions.
    """
    listed = tuple(listed)
    for one in listed:
        _all_loaded(one, seen)
    found: dict[str, Deployment] = {}
    warnings: list[str] = []
    for one in listed:
        shown = _agreed(one, seen) or _as_listed(one)
        warnings += _left_out(one, shown)
        if shown.versions:
            found[one.name] = Deployment(one.name, shown.versions, shown.labels)
    return Resolution(found, tuple(warnings))


def _all_loaded(one: Listed, seen: Sightings) -> None:
    for server, models in sorted(seen.items()):
        for version in sorted(models[one.name].loading):
            text = f"{one.name} {version} is still loading on {server}"
            hint = "import again when it is loaded"
            raise StillLoading(text, hint=hint, model=one.name, version=version, server=server)


def _agreed(one: Listed, seen: Sightings) -> Shown | None:
    """What all servers that answer show of a model; None: none answers."""
    shown = {server: models[one.name] for server, models in sorted(seen.items())}
    if not shown:
        return None
    (first, what), *others = shown.items()
    for other, also in others:
        if also != what:
            text = f"{one.name} is {_told(what)} on {first}, and {_told(also)} on {other}"
            raise ServersDiffer(text, hint=_HINT, model=one.name, servers=[first, other])
    return what


def _as_listed(one: Listed) -> Shown:
    if one.versions is None:
        text = f"{one.name} names no versions, and no server answers that could show them"
        raise FieldInvalid("config", text, hint="register a server that runs, or list the versions")
    return Shown(one.versions, {k: v for k, v in one.labels.items() if v in one.versions})


def _left_out(one: Listed, shown: Shown) -> Iterator[str]:
    if not shown.versions:
        yield f"{one.name}: nothing of it is loaded, so it is left out"
        return
    for version in sorted((one.versions or frozenset()) - shown.versions):
        yield f"{one.name} {version} is listed and not loaded, so it is left out"
    for version in sorted(shown.versions - one.versions if one.versions is not None else ()):
        yield f"{one.name} {version} is loaded and not listed; it stays"
    for label, version in sorted(one.labels.items()):
        if shown.labels.get(label) != version:
            answers = shown.labels.get(label, "nothing")
            yield f"{one.name}: {label} is listed on {version} and answers {answers}; that stays"


def _told(shown: Shown) -> str:
    versions = ", ".join(map(str, sorted(shown.versions))) or "not loaded"
    labels = ", ".join(f"{name}={version}" for name, version in sorted(shown.labels.items()))
    return f"{versions} ({labels})" if labels else versions


@dataclass(frozen=True, slots=True)
class FirstPlan:
    """What would go to a server first, once it is taken over."""

    sentence: str
    only_markers: bool = False
    push: Reload | None = None


def first_plan(assignment: Assignment, observed: Observed, now: Instant) -> FirstPlan:
    """Return what the loop would do first to a server as it was seen just now."""
    if not observed.reachable:
        return FirstPlan("the server does not answer; it is planned for when it does")
    match plan_server(assignment, observed, None, now).action:
        case Reload() as push:
            changes = tuple(_changes(push.config, observed))
            return FirstPlan("; ".join(changes) or ONLY_MARKERS, not changes, push)
        case Converged():
            return FirstPlan(ONLY_MARKERS, only_markers=True)
        case Wait(why) | Blocked(_, why):
            return FirstPlan(why)


def _changes(config: Config, observed: Observed) -> Iterator[str]:
    """How a config differs from what is seen, model by model."""
    for name in sorted({*config.models, *observed.models}):
        states = observed.models.get(name, {})
        there = frozenset(v for v, one in states.items() if one.state is State.AVAILABLE)
        wanted, labels = frozenset[int](), dict[str, int]()
        if name in config.models:
            wanted, labels = config.models[name].versions, dict(config.models[name].labels)
        seen = observed.labels.get(name, {})
        for version in sorted(wanted - there):
            yield f"loads {name} {version}"
        for version in sorted(there - wanted):
            yield f"drops {name} {version}"
        for label in sorted(seen.keys() | labels.keys()):
            if seen.get(label) != labels.get(label):
                moved = f"{seen.get(label, 'none')} → {labels.get(label, 'none')}"
                yield f"{label} of {name}: {moved}"
