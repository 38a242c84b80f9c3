"""Keeps, for each server, a file that it can boot from, where a fleet asks for that.

What was recorded of a server says what the file should hold. It is looked at when that changes, and
now and then, since files may go bad after they were loaded, and others may write. Only the leader
writes.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import structlog

from control_plane.domain.artifact import Complete
from control_plane.domain.boot import boot_config, boot_path, not_kept
from control_plane.domain.events import EventKind
from control_plane.domain.fleet import Fleet, our_path
from control_plane.domain.observed import Observed
from control_plane.reconcile.news import Reporter
from control_plane.reconcile.world import Tracked, World
from control_plane.serving import boot_file, saved_model
from control_plane.serving.config import config_text

CHANGES_S = 1.0  # how often it is looked whether anything changed
PATIENCE_S = 2.0  # storage that takes longer is waited for in the next pass
_THREADS = 4  # a hung file system takes these and no more
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Task:
    """One server, and the file that it may be booted from."""

    server: str
    observed: Observed
    labels: bool
    fleet: Fleet
    path: str  # as we see it


@dataclass(frozen=True, slots=True)
class _Running:
    """A thread's work for a fleet."""

    future: asyncio.Future[dict[str, str]]
    tasks: Sequence[_Task]


@dataclass(slots=True)
class _Kept:
    """What a file was made from last."""

    observed: Observed
    looked_at: float
    fault: str = ""


class BootConfigs:
    """The files of all fleets of this process; one thread at a time works for a fleet."""

    def __init__(self, world: World, monotonic: Callable[[], float]) -> None:
        self._world = world
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="boot")
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._running: dict[str, _Running] = {}

    async def work(self, fleet: str) -> float | None:
        """Bring the files of a fleet up to date; return when to come again, None if never."""
        desired = self._world.desired.known(fleet)
        if desired is None or not desired.fleet.boot_config_dir:
            self.forget(fleet)
            return None
        if fleet not in self._running and self._world.leadership.may_push(fleet):
            tracked = self._world.of(fleet).values()
            due = [it for it in tracked if self._is_due(it) and not not_kept(it.server)]
            if due:
                self._begin(fleet, [_task(desired.fleet, it) for it in due])
        if running := self._running.get(fleet):
            await asyncio.wait([running.future], timeout=PATIENCE_S)
            if running.future.done():
                self._end(fleet, running)
        return CHANGES_S

    def forget(self, fleet: str) -> None:
        """Let go of a fleet; its files stay."""
        for key in [key for key in self._kept if key[0] == fleet]:
            del self._kept[key]

    def close(self) -> None:
        """Give up what runs; a thread that hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_due(self, it: Tracked) -> bool:
        kept = self._kept.get((it.server.fleet, it.server.name))
        if kept is None or kept.observed is not it.recorded:
            return it.recorded.verified is not None
        return self._monotonic() - kept.looked_at >= self._world.options.sweep_s

    def _begin(self, fleet: str, tasks: Sequence[_Task]) -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, _keep_all, tasks)
        self._running[fleet] = _Running(future, tasks)

    def _end(self, fleet: str, running: _Running) -> None:
        del self._running[fleet]
        faults = running.future.result()
        for task in running.tasks:
            it = self._world.of(fleet).get(task.server)
            if it is not None:
                self._note(it, task, faults.get(task.server, ""))

    def _note(self, it: Tracked, task: _Task, fault: str) -> None:
        """Remember what was done; a fault is told when it begins."""
        key = (it.server.fleet, it.server.name)
        before = self._kept.get(key)
        self._kept[key] = _Kept(task.observed, self._monotonic(), fault)
        if fault and (before is None or before.fault != fault):
            log.warning("boot config not written", server=task.server, error=fault)
            told = Reporter(it.server, self._world.clock())
            path = boot_path(task.fleet, task.server)
            failed = EventKind.SERVER_BOOT_CONFIG_FAILED
            it.events.append(told.event(failed, path=path, sentence=fault))
            self._world.nudge(it.key)


def _task(fleet: Fleet, it: Tracked) -> _Task:
    labels = it.server.flags.allow_version_labels_for_unavailable_models is True
    path = our_path(fleet.path_map, boot_path(fleet, it.server.name))
    return _Task(it.server.name, it.recorded, labels, fleet, path)


def _keep_all(tasks: Sequence[_Task]) -> dict[str, str]:
    """Write the files that are not as they should be; return what went wrong, by server."""
    faults = {}
    loads = cache(_loads)  # servers of a fleet hold the same versions
    for task in tasks:
        try:
            _keep(task, loads)
        except OSError as error:
            faults[task.server] = f"{error.filename or task.path}: {error.strerror or error}"
    return faults


def _keep(task: _Task, loads: Callable[[str, int], bool]) -> None:
    models = task.observed.verified.config.models if task.observed.verified else {}
    places = {name: our_path(task.fleet.path_map, one.base_path) for name, one in models.items()}
    config = boot_config(
        task.observed,
        labels=task.labels,
        loads=lambda name, version: loads(places[name], version),
    )
    if config is not None:
        boot_file.keep(task.path, config_text(config, None, ""))


def _loads(place: str, version: int) -> bool:
    """Whether nothing is wrong with files that we see; of those far away the server's word does."""
    if not place.startswith("/"):
        return True
    found = saved_model.presence(place, [version])
    return found.base_exists and isinstance(found.versions.get(version), Complete)
