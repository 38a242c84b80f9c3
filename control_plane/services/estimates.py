"""How long versions take to load, and so plans: as recorded, else guessed from their size."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Final

from control_plane.domain.events import Event, EventKind
from control_plane.domain.ideal import Pairs
from control_plane.domain.preview import Preview, Stage
from control_plane.domain.rollout import Step, StepName
from control_plane.store import journal
from control_plane.store.database import Session

_NEWEST: Final = 20_000  # events that are looked at
_MOST: Final = 500  # of one model
_SEND_S: Final = 0.05  # a reload that loads nothing, and looking whether it took
_FIRST_S: Final = 0.2  # a load of a tiny model
_BYTES_PER_S: Final = 200e6  # from a disk that is neither fast nor slow


@dataclass(frozen=True, slots=True)
class LoadTimes:
    """Seconds by model and version."""

    recorded: Mapping[tuple[str, int], float]
    guessed: Mapping[tuple[str, int], float]

    def of(self, versions: Iterable[tuple[str, int]]) -> float:
        """Return how long these take, one after the other."""
        return sum(self.recorded.get(one, self.guessed.get(one, _FIRST_S)) for one in versions)


async def load_times(
    s: Session,
    fleet: str,
    loads: Pairs,
    sizes: Mapping[tuple[str, int], int],
    until: datetime | None = None,
) -> LoadTimes:
    """Return how long versions take to load, as known at a time, else now.

    One that was never loaded is as slow as its model.
    """
    events: dict[str, list[Event]] = {name: [] for name, _ in loads}
    for one in await _told(s, fleet, events) if events else ():
        if until is None or one.at <= until:
            events[one.model].append(one)
    times = {name: took(some) for name, some in events.items()}
    usual = {name: median(some.values()) for name, some in times.items() if some}
    recorded = {
        (name, version): times[name].get(version, usual[name])
        for name, version in loads
        if name in usual
    }
    guessed = {one: _FIRST_S + sizes.get(one, 0) / _BYTES_PER_S for one in loads}
    return LoadTimes(recorded, guessed)


async def _told(s: Session, fleet: str, models: Collection[str]) -> tuple[Event, ...]:
    after = max(await journal.last_seq(s) - _NEWEST, 0)
    kind = EventKind.VERSION_STATE_CHANGED
    return await journal.newest_of_each(s, fleet, models, kind, after=after, most=_MOST)


def took(events: Iterable[Event]) -> dict[int, float]:
    """Return by version the seconds from its first sign to AVAILABLE, the last time that it was."""
    begun: dict[tuple[str, int], float] = {}
    found: dict[int, float] = {}
    for one in events:
        version, state, at = one.data["version"], one.data["state"], one.at.timestamp()
        key = (one.server, version)
        if state in ("START", "LOADING"):
            begun.setdefault(key, at)
        elif state == "AVAILABLE" and key in begun:
            found[version] = at - begun.pop(key)
        else:
            begun.pop(key, None)
    return found


def eta_s(plans: Iterable[tuple[Preview, Sequence[Stage]]], times: LoadTimes) -> float:
    """Return how long all steps take; each waits for the slowest server, none for people."""
    slowest: dict[int, float] = {}
    for preview, stages in plans:
        own = {number: _bound_s(stage.step) for number, stage in enumerate(stages)}
        for one in preview.reloads:
            poll_s = stages[one.number].assignment.traits.poll_s
            own[one.number] += _SEND_S + times.of(one.loads)
            own[one.number] += poll_s if one.loads and not one.names_added else 0.0
        slowest |= {number: max(s, slowest.get(number, 0.0)) for number, s in own.items()}
    return round(sum(slowest.values()), 1)


def _bound_s(step: Step) -> float:
    """How long a step takes by its own words."""
    timed = step.name in (StepName.BAKE, StepName.DRAIN)
    return float(step.spec["seconds"]) if timed else 0.0


def words(loads: Pairs, times: LoadTimes) -> str:
    """Say how long a way back takes that needs these loads."""
    return f"≈ {max(round(times.of(loads)), 1)} s load" if loads else "instant"
