"""On how many servers each version of a model could answer, when: from recorded transitions.

Every transition says what was before it, so what held at the beginning of a window is known from
the first transition in it, and where there is none from how things are now.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from control_plane.domain.events import Event, EventKind

Cell = tuple[str, int]  # server, version
TOLD_BY: Final = (EventKind.VERSION_STATE_CHANGED, EventKind.SERVER_STATUS_CHANGED)
_SILENT: Final = "unreachable"
_FAILED: Final = "FAILED"  # an END with an error
_MOVING: Final = frozenset({"START", "LOADING", "UNLOADING"})


@dataclass(frozen=True, slots=True)
class Present:
    """How things are now: the state of each version on each server that counts, and who is mute."""

    servers: Collection[str]
    states: Mapping[Cell, str]  # TensorFlow Serving's words; "FAILED" for an END with an error
    silent: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """On how many servers a version was available, moving or failed, all of this time."""

    since: datetime
    until: datetime
    available: int
    moving: int = 0
    failed: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """What tells one from the next."""
        return self.available, self.moving, self.failed


@dataclass(frozen=True, slots=True)
class Load:
    """That a version became available on a server, this many seconds after its first sign."""

    at: datetime
    server: str
    version: int
    seconds: float


class _Board:
    """Counts kept while time passes: of each version, its servers by what they could do."""

    def __init__(self, present: Present, states: Mapping[Cell, str], silent: set[str]) -> None:
        self._servers = frozenset(present.servers)
        self._silent = silent
        self._states: dict[str, dict[int, str]] = {}  # by server and version
        self._counts: dict[int, Counter[str]] = {}
        for (server, version), state in states.items():
            self.put(server, version, state)

    @property
    def versions(self) -> Collection[int]:
        return self._counts.keys()

    def of(self, server: str) -> Collection[int]:
        """The versions that a server has a state of."""
        return self._states.get(server, {}).keys()

    def put(self, server: str, version: int, state: str) -> None:
        before = self._states.setdefault(server, {}).get(version)
        self._states[server][version] = state
        counts = self._counts.setdefault(version, Counter())
        if server in self._servers and server not in self._silent:
            counts[_kind(before)] -= before is not None
            counts[_kind(state)] += 1

    def hear(self, server: str, *, silent: bool) -> None:
        if server not in self._servers or silent == (server in self._silent):
            return
        (self._silent.add if silent else self._silent.discard)(server)
        for version, state in self._states.get(server, {}).items():
            self._counts[version][_kind(state)] += -1 if silent else 1

    def counts(self, version: int) -> tuple[int, int, int]:
        found = self._counts[version]
        return found["AVAILABLE"], found["moving"], found[_FAILED]


def _kind(state: str | None) -> str:
    return "moving" if state in _MOVING else state or ""


def shares(
    events: Sequence[Event], present: Present, since: datetime, until: datetime
) -> Mapping[int, Sequence[Share]]:
    """Return by version what held from `since` to `until`, the oldest first.

    `events` are those of the model and of its servers' status, in order; older ones do no harm.
    """
    recent = [one for one in events if one.at > since and _counts(one)]
    board = _begun(recent, present)
    found: dict[int, list[Share]] = {}

    def close(version: int, at: datetime) -> None:
        _close(found.setdefault(version, []), board.counts(version), since, at)

    for one in recent:
        if one.kind is EventKind.SERVER_STATUS_CHANGED:
            for version in board.of(one.server):
                close(version, one.at)
            board.hear(one.server, silent=one.data.get("status") == _SILENT)
            continue
        version = one.data["version"]
        close(version, one.at)
        board.put(one.server, version, _state(one))
    for version in board.versions:
        close(version, until)
    return found


def _counts(event: Event) -> bool:
    """Whether an event changes what can be answered."""
    if event.kind is EventKind.SERVER_STATUS_CHANGED:
        return _SILENT in (event.data.get("status"), event.data.get("before"))
    return event.kind is EventKind.VERSION_STATE_CHANGED


def _close(
    told: list[Share], counts: tuple[int, int, int], since: datetime, until: datetime
) -> None:
    """End what held until now, as part of what was before it if that was the same."""
    start = told[-1].until if told else since
    if until <= start:
        return
    if told and told[-1].counts == counts:
        start = told.pop().since
    told.append(Share(start, until, *counts))


def _begun(events: Iterable[Event], present: Present) -> _Board:
    """How things were at the beginning, by what the first events since then say was before."""
    states: dict[Cell, str] = {}
    silent: dict[str, bool] = {}
    for one in events:
        if one.kind is EventKind.SERVER_STATUS_CHANGED:
            silent.setdefault(one.server, one.data.get("before") == _SILENT)
        else:
            states.setdefault((one.server, one.data["version"]), one.data.get("before", ""))
    mute = {one for one in present.servers if silent.get(one, one in present.silent)}
    return _Board(present, {**present.states, **states}, mute)


def _state(event: Event) -> str:
    state = str(event.data["state"])
    return _FAILED if state == "END" and event.data.get("error") else state


def loads(events: Iterable[Event]) -> tuple[Load, ...]:
    """Return the loads that events of a model tell of from beginning to end, in their order."""
    begun: dict[Cell, datetime] = {}
    found = []
    for one in events:
        if one.kind is not EventKind.VERSION_STATE_CHANGED:
            continue
        version, state = one.data["version"], one.data["state"]
        key = (one.server, version)
        if state in ("START", "LOADING"):
            begun.setdefault(key, one.at)
            continue
        first = begun.pop(key, None)
        if first is not None and state == "AVAILABLE":
            seconds = (one.at - first).total_seconds()
            found.append(Load(one.at, one.server, version, round(seconds, 3)))
    return tuple(found)
