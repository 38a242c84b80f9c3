"""TensorFlow Serving's behaviour towards a control plane, in virtual time, without input or output.

It is never kinder than the real server: what blocks there blocks here, and what cannot be undone
there without a restart (a new Machine) cannot be undone here.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.devserver.config import (
    Entry,
    Flags,
    check_list,
    check_platforms_kept,
    check_routes,
)
from control_plane.devserver.discovery import Source
from control_plane.devserver.disk import Disk
from control_plane.devserver.history import History
from control_plane.devserver.loader import INITIAL_LOAD_THREADS, Loader
from control_plane.devserver.refusal import Code, Refusal
from control_plane.devserver.threads import Chooser, Mutex, Thread, Threads
from control_plane.domain.state import State, VersionStatus

log = logging.getLogger(__name__)

Config = Sequence[Entry]
_NEWS = 1_000


@dataclass(slots=True, eq=False)
class Call:
    """A reload under way; nobody who gave up waiting for it can take it back."""

    answer: tuple[str, str] | None = None  # (code, message); None while it runs or waits its turn
    number: int = 0  # 1, 2, ...; 0: not a call, but the config file read once more


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened in a server, whoever noticed."""

    at: float
    kind: str  # reload.began, config.applied, reload.ended or version.state
    data: Mapping[str, Any]


@dataclass(slots=True)
class Faults:
    """Failures to come."""

    refuse_reloads: list[Refusal] = field(default_factory=list)  # one for each reload to come


class Machine:
    """One server process from its start on; call `advance` before everything else."""

    def __init__(
        self,
        flags: Flags,
        disk: Disk,
        config: Config | None,
        *,
        now: float = 0.0,
        chooser: Chooser | None = None,
        config_file: Callable[[], Config | None] | None = None,
    ) -> None:
        """Begin to start up.

        Args:
            flags: as given on the command line.
            disk: what this server sees of its storage.
            config: the start-up config; None: not set, which is not the same as empty.
            now: the time at which it starts, in seconds.
            chooser: decides what a real server leaves open; without one it is always the first.
            config_file: reads the config file again; None: nothing sensible in it.
        """
        self.ready = False  # its ports are open
        self.failed: str | None = None  # why it ended by itself, with exit code 255
        self.faults = Faults()
        self.news: deque[News] = deque(maxlen=_NEWS)  # who wants all takes them as they come
        self._calls = 0
        self._flags = flags
        self._disk = disk
        self._threads = Threads(now)
        self._history = History(self._state_changed)
        self._loader = Loader(self._threads, disk, self._history, flags, chooser)
        self._config_lock = Mutex(chooser)
        self._remembered: Config | None = None
        self._labels: dict[str, dict[str, int]] | None = None
        self._source: Source | None = None
        self._config_file = config_file
        self._threads.start(self._start(config))
        self._threads.advance(now)

    @property
    def now(self) -> float:
        """The time up to which everything has happened."""
        return self._threads.now

    def advance(self, now: float) -> None:
        """Carry out everything that is due up to and including `now`."""
        self._threads.advance(now)

    def due(self) -> float | None:
        """Say when something happens next by itself; None: never again."""
        return self._threads.due()

    def reload(self, config: Config) -> Call:
        """Begin a reload, which answers at once where the real server would."""
        self._calls += 1
        call = Call(number=self._calls)
        self._happened("reload.began", reload=call.number, config=config)
        self._threads.start(self._reload(call, config))
        self._threads.advance(self.now)
        return call

    def refuse_next_reload(self, code: Code, message: str) -> None:
        """Make one reload to come fail without any effect."""
        self.faults.refuse_reloads.append(Refusal(code, message))

    def crash(self) -> None:
        """End at once; calls under way are never answered."""
        self.ready = False
        self._threads.kill_all()

    def status(self, name: str, version: int | None = None) -> dict[int, VersionStatus]:
        """Give the states of a model's versions, highest first.

        Raises:
            Refusal: NOT_FOUND where nothing was ever known.
        """
        known = self._history.of(name)
        if version is not None:
            if version not in known:
                message = f"Could not find version {version} of model {name}"
                raise Refusal(Code.NOT_FOUND, message)
            return {version: known[version]}
        if not known:
            raise Refusal(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return dict(sorted(known.items(), reverse=True))

    def resolve(self, name: str, version: int | None = None, label: str | None = None) -> int:
        """Say which version answers a request.

        Raises:
            Refusal: there is none, or the label is not known.
        """
        if not name:
            raise Refusal(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if label is not None:
            version = self._labelled(name, label)
        loaded = self._loader.serving.get(name, {})
        if version is None and loaded:
            return max(loaded)
        if version is None or version not in loaded:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refusal(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return version

    @property
    def serving(self) -> set[tuple[str, int]]:
        """Every version that requests can reach now."""
        return {(name, one) for name, some in self._loader.serving.items() for one in some}

    @property
    def labels(self) -> Mapping[str, Mapping[str, int]]:
        """The labels in force, by model."""
        return self._labels or {}

    def servable(self, name: str, version: int) -> object:
        """Give what the load of a serving version gave."""
        return self._loader.serving[name][version]

    def enter(self) -> int:
        """Count a request that begins: whatever is published now waits until it has left."""
        return self._loader.enter()

    def leave(self, entered: int) -> None:
        """Count a request that ends."""
        self._loader.leave(entered)

    def _happened(self, kind: str, **data: Any) -> None:
        self.news.append(News(self.now, kind, data))

    def _state_changed(self, name: str, version: int, status: VersionStatus) -> None:
        told = {"state": status.state.name, "error": status.error}
        self._happened("version.state", model=name, version=version, **told)

    def _labelled(self, name: str, label: str) -> int:
        if self._labels is None:
            raise Refusal(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        labels = self._labels.get(name, {})
        if label not in labels:
            message = f"Unrecognized servable version label: {label}"
            raise Refusal(Code.INVALID_ARGUMENT, message)
        return labels[label]

    def _start(self, config: Config | None) -> Thread:
        try:
            if config is not None:
                yield from self._config_lock.acquire()
                yield from self._apply(config, 0)
                self._config_lock.release()
        except Refusal as refusal:
            self.failed = f"Failed to start server. Error: {refusal}"
            self._threads.kill_all()
            return
        self.ready = True
        if self._config_file and self._flags.model_config_file_poll_wait_seconds > 0:
            self._threads.start(self._reread(self._config_file))

    def _reread(self, config_file: Callable[[], Config | None]) -> Thread:
        """Apply the file again and again, whether it changed or not."""
        while True:
            began = self.now
            config = config_file()
            if config is not None:
                yield from self._reload(Call(), config)
            yield began + self._flags.model_config_file_poll_wait_seconds

    def _reload(self, call: Call, config: Config) -> Thread:
        yield from self._config_lock.acquire()
        try:
            if self.faults.refuse_reloads:
                raise self.faults.refuse_reloads.pop(0)
            yield from self._apply(config, call.number)
            call.answer = ("OK", "")
        except Refusal as refusal:
            call.answer = (refusal.code.name, refusal.message)
        code, message = call.answer
        self._happened("reload.ended", reload=call.number, code=code, message=message)
        self._config_lock.release()

    def _apply(self, config: Config, number: int) -> Thread:
        """Take the steps of a reload in their order; what is done before a refusal stays done."""
        check_list(config)
        check_platforms_kept(self._remembered or (), config)
        self._remembered = config
        self._labels = self._labels_of(config)
        self._happened("config.applied", reload=number, config=config)
        check_routes(config)
        if self._source is None:
            yield from self._first(config)
        else:
            yield from self._next(self._source, config)
        if any(entry.logging for entry in config):
            raise Refusal(Code.INVALID_ARGUMENT, "No request-logger-creator provided.")

    def _first(self, config: Config) -> Thread:
        """Build the source; one that does not get every model up is thrown away, loads remain."""
        source = Source(
            self._threads, self._disk, self._loader.ask, self._flags.file_system_poll_wait_seconds
        )
        source.start(config)
        yield from self._loader.set_load_threads(INITIAL_LOAD_THREADS)
        watch = self._history.watch((entry.name for entry in config), fresh=False)
        yield lambda: watch.reached is not None
        yield from self._loader.set_load_threads(self._flags.num_load_threads)
        try:
            watch.check("servable")
        except Refusal:
            source.discard()
            raise
        self._source = source

    def _next(self, source: Source, config: Config) -> Thread:
        """Change the source's config, then wait for its new names, for as long as it takes."""
        new = [entry.name for entry in config if entry.name not in source.entries]
        watch = self._history.watch(new, fresh=True)
        source.update(config)
        yield lambda: watch.reached is not None
        watch.check("model")

    def _labels_of(self, config: Config) -> dict[str, dict[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for entry in config:
            for label, version in entry.labels.items():
                if not self._may_point_at(entry.name, label, version):
                    raise Refusal(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {entry.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(entry.name, {})[label] = version
        return labels

    def _may_point_at(self, name: str, label: str, version: int) -> bool:
        if self._flags.allow_version_labels_for_unavailable_models:
            existing = self.labels.get(name, {})
            if existing.get(label, version) == version:
                return True
        status = self._history.of(name).get(version)
        return status is not None and status.state is State.AVAILABLE
