"""The last state of every version that a server ever knew, kept until its process ends.

Who waits for models to become available watches the events: since a moment of its own, or, for the
first config, all that is on record.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from control_plane.devserver.refusal import Code, Refusal
from control_plane.domain.state import State, VersionStatus

_Versions = dict[int, VersionStatus]


@dataclass(slots=True)
class Watch:
    """Waits until each name has a version that is AVAILABLE or END, the highest such."""

    names: frozenset[str]
    seen: dict[str, _Versions]
    reached: dict[tuple[str, int], VersionStatus] | None = None  # set once, when the wait is over

    def look(self) -> None:
        """End the wait if all names have reached an end of their own at this moment."""
        reached = {}
        for name in sorted(self.names):
            version = next(iter(self._ended(name)), None)
            if version is None:
                return
            reached[name, version] = self.seen[name][version]
        self.reached = reached

    def check(self, noun: str) -> None:
        """Refuse if any of the versions reached is at END.

        Raises:
            Refusal: UNKNOWN, with the loader's errors; an unload that ended in between has none.
        """
        failed = {
            one: status for one, status in (self.reached or {}).items() if status.state is State.END
        }
        if failed:
            each = "".join(f"{{{_said(*one, status)}}}, " for one, status in failed.items())
            message = f"{len(failed)} {noun}(s) did not become available: {{{each}}}"
            raise Refusal(Code.UNKNOWN, message)

    def _ended(self, name: str) -> list[int]:
        versions = self.seen.get(name, {})
        ended = (State.AVAILABLE, State.END)
        return sorted((v for v, one in versions.items() if one.state in ended), reverse=True)


def _said(name: str, version: int, status: VersionStatus) -> str:
    error = f"{Code(status.error_code).name}: {status.error}"
    due = f" due to error: {error}" if status.error_code else ""
    return f"{{name: {name} version: {version}}}{due}"


class History:
    """All states on record, and those who watch for new ones."""

    def __init__(self, tell: Callable[[str, int, VersionStatus], None]) -> None:
        self._tell = tell  # of every state, as it is published
        self._states: dict[str, _Versions] = {}
        self._watches: list[Watch] = []

    def record(self, name: str, version: int, status: VersionStatus) -> None:
        """Publish a state to everybody who watches."""
        self._states.setdefault(name, {})[version] = status
        self._tell(name, version, status)
        for watch in list(self._watches):
            watch.seen.setdefault(name, {})[version] = status
            if name in watch.names:
                self._look(watch)

    def of(self, name: str) -> Mapping[int, VersionStatus]:
        """Give the versions of a model that were ever known, in no order."""
        return self._states.get(name, {})

    def watch(self, names: Iterable[str], *, fresh: bool) -> Watch:
        """Wait for models: by events from now on, or else by whatever is on record too."""
        watch = Watch(frozenset(names), {} if fresh else self._states)
        self._watches.append(watch)
        self._look(watch)
        return watch

    def _look(self, watch: Watch) -> None:
        watch.look()
        if watch.reached is not None:
            self._watches.remove(watch)
