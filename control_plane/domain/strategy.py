"""Strategies: which steps a promotion takes, read from a document and checked once.

    {"steps": ["load", {"canary": {"label": "canary", "servers": "50%"}}, {"bake": {"seconds": 60}},
               {"promote": {"waves": [1, "50%", "100%"]}}, {"drain": {"seconds": 30}}, "retire"]}

`strategy_document.parse` is the only reader of such a document: a `Strategy` can be carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Step, StepName
from control_plane.domain.share import ALL, Share
from control_plane.domain.steps import State, steps_for


@dataclass(frozen=True, slots=True)
class Load:
    """Load what is new beside what is there."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Point a label for trying out at the new version, on some of the servers."""

    label: str = "canary"
    servers: Share = ALL


@dataclass(frozen=True, slots=True)
class Bake:
    """Let time pass with everything as it is."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GateSpec:
    """Wait until a gate passes; `options` are those of its kind."""

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Approve:
    """Wait until so many people have said yes."""

    count: int = 1
    exclude_author: bool = True


@dataclass(frozen=True, slots=True)
class Promote:
    """Move the labels, first on some servers and at last on all."""

    waves: tuple[Share, ...] = (ALL,)


@dataclass(frozen=True, slots=True)
class Drain:
    """Let callers of what goes away finish."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Retire:
    """Drop what is not kept."""


StepSpec: TypeAlias = Load | Canary | Bake | GateSpec | Approve | Promote | Drain | Retire


@dataclass(frozen=True, slots=True)
class Strategy:
    """Steps in an order that can be carried out."""

    steps: tuple[StepSpec, ...]
    description: str = ""

    @property
    def canaries(self) -> tuple[str, ...]:
        """The labels for trying out that it moves."""
        return tuple(dict.fromkeys(one.label for one in self.steps if isinstance(one, Canary)))


@dataclass(frozen=True, slots=True)
class Named:
    """A strategy as it was from one edit to the next; number 0 is built in."""

    name: str
    number: int
    strategy: Strategy
    created_at: datetime | None = None  # None: built in
    created_by: str = ""


NAMES: Final[Mapping[type[StepSpec], str]] = {
    Load: "load",
    Canary: "canary",
    Bake: "bake",
    GateSpec: "gate",
    Approve: "approve",
    Promote: "promote",
    Drain: "drain",
    Retire: "retire",
}
BAKE_S: Final = 60.0
DIRECT: Final = Named(
    "direct", 0, Strategy((Load(), Promote(), Retire()), "everywhere at once, as soon as it loaded")
)
CANARY: Final = Named(
    "canary",
    0,
    Strategy(
        (
            Load(),
            Canary(),
            Bake(BAKE_S),
            GateSpec("replay", "replay", {"required": False, "tolerance": {"top1_agreement": 0}}),
            Promote(),
            Retire(),
        ),
        "the label canary first; a minute later, when the new version answers recorded requests"
        " without errors, NaN or other shapes, the label itself",
    ),
)
BUILT_IN: Final[Mapping[str, Named]] = {one.name: one for one in (DIRECT, CANARY)}


def itinerary(strategy: Strategy, kind: Kind, before: State, after: State) -> tuple[Step, ...]:
    """Return the steps that a rollout takes from one state to the other.

    Only what moves labels forward follows a strategy. Each wave of a promotion is a step of its
    own, a canary whose label stays where it is is left out, and what is not kept is always dropped.
    """
    if strategy == DIRECT.strategy or kind not in (Kind.PROMOTE, Kind.DEPLOY):
        return steps_for(kind, before, after)
    steps = [
        made
        for one in strategy.steps
        if not isinstance(one, Canary) or _moves(one.label, before, after)
        for made in _steps(one)
    ]
    dropped = any(one.name is StepName.RETIRE for one in steps)
    return tuple(steps if dropped else [*steps, Step(StepName.RETIRE)])


def _moves(label: str, before: State, after: State) -> bool:
    def where(state: State, model: str) -> int | None:
        deployment = state.get(model)
        return deployment.labels.get(label) if deployment else None

    return any(where(before, model) != where(after, model) for model in after)


def _steps(spec: StepSpec) -> list[Step]:
    if isinstance(spec, Promote):
        return [Step(StepName.PROMOTE, spec={"servers": one.to_json()}) for one in spec.waves]
    name, document = spec_json(spec)
    return [Step(StepName(name), spec=document)]


def to_json(strategy: Strategy) -> dict[str, Any]:
    """Return the document of a strategy, with nothing left out."""
    steps = [dict([spec_json(one)]) for one in strategy.steps]
    return {"description": strategy.description, "steps": steps}


def spec_json(spec: StepSpec) -> tuple[str, dict[str, Any]]:
    """Return a step's name and its document."""
    return NAMES[type(spec)], _document(spec)


def _document(spec: StepSpec) -> dict[str, Any]:
    match spec:
        case Load() | Retire():
            return {}
        case Canary(label, servers):
            return {"label": label, "servers": servers.to_json()}
        case Bake(seconds) | Drain(seconds):
            return {"seconds": seconds}
        case GateSpec(kind, name, options):
            return {"kind": kind, "name": name, **options}
        case Approve(count, exclude_author):
            return {"count": count, "exclude_author": exclude_author}
        case Promote(waves):
            return {"waves": [one.to_json() for one in waves]}
