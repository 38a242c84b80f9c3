"""The file-system source: which versions each model of the config should have, poll by poll."""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from control_plane.devserver.config import All, Entry, Latest, Specific
from control_plane.devserver.disk import Disk
from control_plane.devserver.threads import Thread, Threads

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_INT64 = range(-(2**63), 2**63)


class Aspire(Protocol):
    """Takes the versions (number -> path) that a model should have from now on."""

    def __call__(self, name: str, versions: Mapping[int, str], *, name_gone: bool) -> None:
        """Replace what was asked for this name before."""


class Source:
    """Looks under the base paths of the config in force, and says what it found."""

    def __init__(self, threads: Threads, disk: Disk, aspire: Aspire, period_s: float) -> None:
        self.entries: dict[str, Entry] = {}
        self._threads = threads
        self._disk = disk
        self._aspire = aspire
        self._period_s = period_s
        self._alive = True

    def start(self, config: Iterable[Entry]) -> None:
        """Take the first config and begin to poll."""
        self.entries = {entry.name: entry for entry in config}
        if self._period_s >= 0:
            self._threads.start(self._polling())

    def update(self, config: Iterable[Entry]) -> None:
        """Replace the config; names that are not in it any more are given up at once."""
        removed = [*self.entries]
        self.entries = {entry.name: entry for entry in config}
        for name in removed:
            if name not in self.entries:
                self._aspire(name, {}, name_gone=True)

    def discard(self) -> None:
        """Poll no more."""
        self._alive = False

    def _polling(self) -> Thread:
        while self._alive:
            self._poll()
            if not self._period_s:
                return
            yield self._threads.now + self._period_s

    def _poll(self) -> None:
        found = {}
        for name, entry in self.entries.items():
            children = self._disk.children(entry.base_path)
            if children is None:  # ends the poll for all models, before any was told
                log.warning("Could not find base path %s for servable %s", entry.base_path, name)
                return
            found[name] = versions_of(entry, children)
        for name, versions in found.items():
            self._aspire(name, versions, name_gone=False)


def versions_of(entry: Entry, children: Iterable[str]) -> dict[int, str]:
    """Choose by an entry's policy among the children of its base path: number -> path."""
    present = {
        number: f"{entry.base_path.rstrip('/')}/{child}"
        for child in sorted(children)  # of two spellings of one number the last one wins
        if _NUMBER.fullmatch(child) and (number := int(child)) in _INT64
    }
    match entry.policy:
        case Specific(versions):
            return {number: present[number] for number in sorted(versions) if number in present}
        case Latest(n):
            return {number: present[number] for number in sorted(present)[-max(n, 1) :]}
        case All():
            return present
