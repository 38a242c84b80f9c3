"""Room in memory: what goes before something is loaded, where a server would have too little.

A version is loaded beside those that are there, so for a while a server holds more than before and
after. What goes at the end anyway, and what is kept for a way back alone, can go first, in a reload
of its own; what has a label never does. That is decided once, when a rollout starts, from what the
servers are said to have and the sizes that versions were registered with, for all servers alike: so
the plan is the same whoever makes it, and whenever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from control_plane.domain.action import Change, ModelAction, Rank, Wait
from control_plane.domain.model_plan import View, unloading
from control_plane.domain.revision import Deployment
from control_plane.domain.rollout import Step, StepName
from control_plane.domain.state import ModelConfig
from control_plane.domain.state import State as VersionState
from control_plane.domain.steps import ROOM, State

MEMORY_FACTOR: Final = 1.2  # what TensorFlow Serving reserves per byte on disk
Sizes = Mapping[tuple[str, int], int]  # bytes on disk by model and version
Versions = Mapping[str, frozenset[int]]  # by model
_IN_MEMORY = (VersionState.LOADING, VersionState.AVAILABLE, VersionState.UNLOADING)
_NONE: frozenset[int] = frozenset()


def needed_bytes(loaded: Iterable[tuple[str, int]], sizes: Sizes) -> int:
    """Return the memory that models and versions take; 0 for those of unknown size."""
    return round(MEMORY_FACTOR * sum(sizes.get(one, 0) for one in loaded))


@dataclass(frozen=True, slots=True)
class Load:
    """A change of what is loaded, with all that takes memory meanwhile."""

    head: Mapping[str, Deployment]
    before: State  # of the models that change
    after: State
    kept: Versions = field(default_factory=dict)  # what `after` holds for a way back alone
    sizes: Sizes = field(default_factory=dict)

    @property
    def adds(self) -> bool:
        """Whether anything is loaded."""
        return any(_held(one) - _held(self.before.get(name)) for name, one in self.after.items())

    @property
    def dropped(self) -> Versions:
        """What goes at the end anyway, and has no label that it has to lose first."""
        staying = ((name, one.versions) for name, one in self.after.items() if one)
        return {name: self._unlabelled(name) - versions for name, versions in staying}

    @property
    def spared(self) -> Versions:
        """What is kept for a way back alone, before and after."""
        return {name: self._unlabelled(name) & versions for name, versions in self.kept.items()}

    def peak_bytes(self, first: Versions) -> int:
        """Return what a server needs while all is loaded but what went first."""
        there = {(name, v) for name, one in self.head.items() for v in one.versions}
        there = {one for one in there if one[0] not in self.after}
        for name, one in self.after.items():
            beside = _held(self.before.get(name)) | _held(one)
            there |= {(name, v) for v in beside - first.get(name, _NONE)}
        return needed_bytes(there, self.sizes)

    def _unlabelled(self, name: str) -> frozenset[int]:
        before = self.before.get(name)
        return _held(before) - frozenset(before.labels.values() if before else ())


@dataclass(frozen=True, slots=True)
class Room:
    """How a change is carried out so that it fits, if it can be made to."""

    after: State  # without what is not kept, for want of memory
    first: Versions  # goes before anything is loaded


def make_room(load: Load, memory_bytes: int) -> Room:
    """Take away no more than is needed for a server to have enough memory, and nothing in vain."""
    whole = Room(load.after, {})
    if not load.adds or load.peak_bytes({}) <= memory_bytes:
        return whole
    dropped, spared = load.dropped, load.spared
    both = {name: some | spared.get(name, _NONE) for name, some in dropped.items()}
    lean = {n: one and _without(one, spared.get(n, _NONE)) for n, one in load.after.items()}
    for room in (Room(load.after, dropped), Room(lean, both)):
        if any(room.first.values()) and load.peak_bytes(room.first) <= memory_bytes:
            return replace(room, first={name: some for name, some in room.first.items() if some})
    return whole


def with_room(steps: Iterable[Step], first: Versions) -> tuple[Step, ...]:
    """Return the steps of a rollout whose first load makes room."""
    made = tuple(steps)
    loads = next((one for one in made if one.name is StepName.LOAD), None)
    if loads is None or not first:
        return made
    told = {name: sorted(versions) for name, versions in sorted(first.items())}
    roomy = replace(loads, spec={**loads.spec, ROOM: told})
    return tuple(roomy if one is loads else one for one in made)


def first_drops(
    views: Mapping[str, View], actions: dict[str, ModelAction]
) -> dict[str, ModelAction]:
    """Hold up every load on a server until what goes first has gone."""
    roomy = [view for view in views.values() if view.want is not None and view.want.room]
    if not roomy:
        return actions
    loads = [n for n, one in actions.items() if isinstance(one, Change) and one.rank in _LOADS]
    drops = {name: found for name in loads if (found := _drop(views[name])) is not None}
    going = [one for view in roomy for one in _going(view)]
    if not loads or not (drops or going):
        return actions
    ground = views[loads[0]].ground
    until = ground.now + ground.traits.load_budget_s
    wait = going[0] if going else Wait("room is made first", until)
    return {**actions, **dict.fromkeys(loads, wait), **drops}


_LOADS = (Rank.LOAD, Rank.ADD)


def _drop(view: View) -> Change | None:
    held, going = view.held, _spare(view)
    if held is None or not going or going == held.versions:
        return None
    entry = view.holding() or held
    why = f"drop {view.name} {', '.join(map(str, sorted(going)))} to make room"
    return Change(Rank.DROP, ModelConfig(entry.base_path, held.versions - going, entry.labels), why)


def _spare(view: View) -> frozenset[int]:
    """What the server's config holds of it; a label that strayed there keeps a version."""
    if view.want is None or view.held is None:
        return _NONE
    return (view.want.room & view.held.versions) - frozenset(view.labels.values())


def _going(view: View) -> Iterable[ModelAction]:
    """That something is unloaded, which takes memory until it is done."""
    if view.want is None:
        return
    held = view.held.versions if view.held else _NONE
    left = [v for v in sorted(view.want.room - held) if v in view.seen]
    if left := [v for v in left if view.seen[v].state in _IN_MEMORY]:
        yield unloading(view, left)


def _held(deployment: Deployment | None) -> frozenset[int]:
    return deployment.versions if deployment else _NONE


def _without(deployment: Deployment, versions: frozenset[int]) -> Deployment:
    return replace(deployment, versions=deployment.versions - versions)
