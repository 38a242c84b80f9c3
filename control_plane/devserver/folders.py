"""Storage as the dev server sees it: folders of this machine, loaded by threads of their own."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from control_plane.devserver.disk import LoadOutcome
from control_plane.devserver.refusal import Refusal
from control_plane.devserver.saved_model import Servable

log = logging.getLogger(__name__)

_SCHEME = "file://"


class Running:
    """A load that has not ended while its outcome is None."""

    def __init__(self) -> None:
        self.outcome: LoadOutcome | None = None


class Folders:
    """A disk of real folders."""

    def __init__(self, load: Callable[[str], Servable], ended: Callable[[], None]) -> None:
        """Take what loads a version, and whom to tell when a load has ended."""
        self._load = load
        self._ended = ended
        self._threads = ThreadPoolExecutor(thread_name_prefix="load")

    def children(self, base_path: str) -> list[str] | None:
        """List a folder; None if it cannot be done."""
        try:
            return [child.name for child in Path(base_path.removeprefix(_SCHEME)).iterdir()]
        except OSError:
            return None

    def measure(self, path: str) -> str | None:
        """Refuse plain files, as listing one does."""
        local = path.removeprefix(_SCHEME)
        return f"{path}; Not a directory" if Path(local).is_file() else None

    def load(self, path: str) -> Running:
        """Begin to load."""
        running = Running()
        self._threads.submit(self._run, path.removeprefix(_SCHEME), running)
        return running

    def _run(self, path: str, running: Running) -> None:
        try:
            running.outcome = LoadOutcome(servable=self._load(path))
        except Refusal as refusal:
            log.warning("%s cannot be loaded: %s", path, refusal)
            running.outcome = LoadOutcome(error_code=refusal.code, error=refusal.message)
        self._ended()
