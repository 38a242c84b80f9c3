"""Loads and unloads versions as asked: one action per tick, availability before tidiness.

    asked ──► NEW ──► BUSY ──► READY ──► BUSY ──► DONE        (DONE: unloaded, or its load failed)
             START   LOADING  AVAILABLE  UNLOADING  END        (as published)

A version that is not wanted any more is forgotten once it is NEW or DONE. A list that holds a
version which is still waiting to be forgotten is postponed as a whole. A failed version that is
still wanted stays DONE: it is never tried again.
"""

import enum
import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from control_plane.devserver.config import Flags
from control_plane.devserver.disk import Disk, LoadOutcome
from control_plane.devserver.history import History
from control_plane.devserver.refusal import Code
from control_plane.devserver.threads import Chooser, Mutex, Pool, Thread, Threads, Wait, chosen
from control_plane.domain.state import State, VersionStatus

TICK_S = 0.1
ESTIMATE_S = 0.1  # sizing a version before its load; holds the lock that every tick needs
UNLOAD_S = 0.02
INITIAL_LOAD_THREADS = 8  # while the first config loads; 4 for each CPU


class Stage(enum.Enum):
    """How far a managed version is."""

    NEW = enum.auto()
    BUSY = enum.auto()
    READY = enum.auto()
    DONE = enum.auto()


@dataclass(slots=True, eq=False)
class Managed:
    """One version in the loader's care."""

    name: str
    version: int
    path: str
    wanted: bool = True
    stage: Stage = Stage.NEW
    cancelled: bool = False  # no further attempts; a load that succeeds is undone
    name_gone: bool = False  # given up because its name left the config
    servable: object = None


class Loader:
    """Everything that is managed, and the map of what serves."""

    def __init__(
        self,
        threads: Threads,
        disk: Disk,
        history: History,
        flags: Flags,
        chooser: Chooser | None = None,
    ) -> None:
        self._threads = threads
        self._disk = disk
        self._history = history
        self._flags = flags
        self._chooser = chooser
        self._managed: dict[str, dict[int, Managed]] = {}
        self._asked: dict[str, tuple[Mapping[int, str], bool]] = {}
        self._lock = Mutex(chooser)
        self._loads = Pool(threads, flags.num_load_threads)
        self._unloads = Pool(threads, flags.num_unload_threads)
        self._resizing = False
        self._stirred = False
        self._serving: dict[str, dict[int, object]] = {}
        self._map_number = 0
        self._in_flight: dict[int, int] = {}
        threads.start(self._manage())

    def ask(self, name: str, versions: Mapping[int, str], *, name_gone: bool) -> None:
        """Want these versions of a model from the next tick on, and no others."""
        self._asked[name] = (versions, name_gone)
        self._stirred = True

    @property
    def serving(self) -> Mapping[str, Mapping[int, object]]:
        """What requests can reach now: name -> version -> what its load gave."""
        return self._serving

    def enter(self) -> int:
        """Count a request that begins; whatever is published now waits until it has left."""
        self._in_flight[self._map_number] = self._in_flight.get(self._map_number, 0) + 1
        return self._map_number

    def leave(self, entered: int) -> None:
        """Count a request that ends."""
        self._in_flight[entered] -= 1
        if not self._in_flight[entered]:
            del self._in_flight[entered]

    def set_load_threads(self, number: int) -> Iterator[Wait]:
        """Change the number of load threads, after all loads that run have ended."""
        self._resizing = True
        yield self._loads.idle
        self._loads = Pool(self._threads, number)
        self._resizing = False

    def _manage(self) -> Thread:
        yield self._threads.now + TICK_S * (self._chooser.random() if self._chooser else 0.5)
        while True:
            began = self._threads.now
            yield from self._tick()
            ticks = 1
            if not self._stirred:  # nothing to do until something changes; the beat is kept
                yield lambda: self._stirred
                ticks = max(1, math.ceil((self._threads.now - began) / TICK_S - 1e-6))
            yield began + ticks * TICK_S

    def _tick(self) -> Iterator[Wait]:
        yield from self._lock.acquire()
        self._lock.release()
        self._stirred = False
        self._forget()
        self._take_asked()
        unload, load = self._actions()
        if unload:
            one = chosen(self._chooser, unload)
            self._move(one, Stage.BUSY)
            yield from self._unloads.submit(self._unload(one))
        elif load:
            one = chosen(self._chooser, load)
            yield lambda: not self._resizing
            self._move(one, Stage.BUSY)
            yield from self._loads.submit(self._load(one))

    def _forget(self) -> None:
        gone = [
            one
            for versions in self._managed.values()
            for one in versions.values()
            if not one.wanted and one.stage in (Stage.NEW, Stage.DONE)
        ]
        for one in gone:
            del self._managed[one.name][one.version]
            self._managed = {name: some for name, some in self._managed.items() if some}
            if one.stage is Stage.NEW and not one.name_gone:
                self._publish(one, State.END)  # else it says START until the process ends

    def _take_asked(self) -> None:
        for name, (versions, name_gone) in list(self._asked.items()):
            managed = self._managed.get(name, {})
            if any(not one.wanted and one.version in versions for one in managed.values()):
                continue
            del self._asked[name]
            for one in managed.values():
                if one.wanted and one.version not in versions:
                    one.wanted, one.cancelled, one.name_gone = False, True, name_gone
                    self._stirred = True
            for version in versions.keys() - managed.keys():
                self._adopt(Managed(name, version, versions[version]))

    def _adopt(self, one: Managed) -> None:
        self._managed.setdefault(one.name, {})[one.version] = one
        self._stirred = True
        self._publish(one, State.START)

    def _actions(self) -> tuple[list[Managed], list[Managed]]:
        actions = [_next_action(versions) for versions in self._managed.values()]
        unload = [one for one, _ in actions if one]
        return unload, [one for _, one in actions if one]

    def _load(self, one: Managed) -> Thread:
        outcome = yield from self._measured(one)
        if not outcome.error_code:
            self._publish(one, State.LOADING)
            outcome = yield from self._tried(one)
        if outcome.error_code:
            self._fail(one, Code(outcome.error_code), outcome.error)
        elif one.cancelled:
            self._fail(one, Code.CANCELLED, "Loading of servable cancelled")
        else:
            one.servable = outcome.servable
            self._move(one, Stage.READY)
            yield from self._lock.acquire()
            self._serving.setdefault(one.name, {})[one.version] = one.servable
            yield self._requests_left()
            self._lock.release()
            self._publish(one, State.AVAILABLE)

    def _measured(self, one: Managed) -> Generator[Wait, None, LoadOutcome]:
        """Estimate the size; a failure is retried like a load, but under the lock."""
        yield from self._lock.acquire()
        yield self._threads.now + ESTIMATE_S
        retries = self._flags.max_num_load_retries
        while (problem := self._disk.measure(one.path)) and retries and not one.cancelled:
            retries -= 1
            yield self._threads.now + self._flags.load_retry_interval_micros / 1e6
        self._lock.release()
        servable = f"{{name: {one.name} version: {one.version}}}"
        told = f"Error while attempting to reserve resources to load servable {servable}: {problem}"
        return LoadOutcome(0, Code.FAILED_PRECONDITION, told) if problem else LoadOutcome()

    def _tried(self, one: Managed) -> Generator[Wait, None, LoadOutcome]:
        """Try until it loads, or is cancelled, or all attempts are used up."""
        retries = self._flags.max_num_load_retries
        while True:
            outcome = yield from self._attempt(one)
            if not outcome.error_code or not retries or one.cancelled:
                return outcome
            retries -= 1
            yield self._threads.now + self._flags.load_retry_interval_micros / 1e6

    def _attempt(self, one: Managed) -> Generator[Wait, None, LoadOutcome]:
        attempt = self._disk.load(one.path)
        if isinstance(attempt, LoadOutcome):
            yield self._threads.now + attempt.seconds
            return attempt
        while (outcome := attempt.outcome) is None:
            yield lambda: attempt.outcome is not None
        return outcome

    def _unload(self, one: Managed) -> Thread:
        yield from self._lock.acquire()
        self._publish(one, State.UNLOADING)
        del self._serving[one.name][one.version]
        yield self._requests_left()
        self._lock.release()
        one.servable = None
        yield self._threads.now + UNLOAD_S
        self._move(one, Stage.DONE)
        self._publish(one, State.END)

    def _requests_left(self) -> Wait:
        """Wait for every request, on any model, that began before the map changed."""
        self._map_number += 1
        number = self._map_number
        return lambda: all(entered >= number for entered in self._in_flight)

    def _fail(self, one: Managed, code: Code, error: str) -> None:
        self._move(one, Stage.DONE)
        self._history.record(one.name, one.version, VersionStatus(State.END, code.value, error))

    def _move(self, one: Managed, stage: Stage) -> None:
        one.stage = stage
        self._stirred = True

    def _publish(self, one: Managed, state: State) -> None:
        self._history.record(one.name, one.version, _STATUS[state])


_STATUS = {state: VersionStatus(state) for state in State}


def _next_action(versions: Mapping[int, Managed]) -> tuple[Managed | None, Managed | None]:
    """Decide for one model what to unload, or else what to load next, if anything."""
    wanted = [one for one in versions.values() if one.wanted]
    leaving = [o for o in versions.values() if not o.wanted and o.stage is Stage.READY]
    if leaving and (
        not wanted or len(leaving) > 1 or any(one.stage is Stage.READY for one in wanted)
    ):
        return min(leaving, key=lambda one: one.version), None
    new = [one for one in wanted if one.stage is Stage.NEW]
    return None, max(new, key=lambda one: one.version, default=None)
