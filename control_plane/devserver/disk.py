"""What a model server finds under its base paths: listings, and how an attempt to load ends."""

from dataclasses import dataclass
from typing import Protocol

from control_plane.devserver.refusal import Code

NOT_A_SAVED_MODEL = (
    "Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. Check "
    "that the directory exists and that you have the right permissions for accessing it."
)


@dataclass(frozen=True, slots=True)
class LoadOutcome:
    """How one attempt to load ends, and how long it takes."""

    seconds: float = 0.0
    error_code: int = 0
    error: str = ""
    servable: object = None  # what predicts; nothing looks into it here


class Attempt(Protocol):
    """An attempt that runs in real time; its outcome is None until it has ended."""

    outcome: LoadOutcome | None


class Disk(Protocol):
    """Storage as one server sees it."""

    def children(self, base_path: str) -> list[str] | None:
        """List what lies under a base path; None: it is missing or cannot be listed."""

    def measure(self, path: str) -> str | None:
        """Say why the size of a version cannot be estimated; None: it can."""

    def load(self, path: str) -> LoadOutcome | Attempt:
        """Begin one attempt to load."""


class MemoryDisk:
    """Storage that a test sets as it likes; paths are `base_path/version`."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds
        self._children: dict[str, dict[str, LoadOutcome]] = {}
        self._files: set[str] = set()

    def put(self, base_path: str, *versions: int | str, seconds: float | None = None) -> None:
        """Show complete versions, or repair those that are there."""
        outcome = LoadOutcome(self.seconds if seconds is None else seconds)
        folder = self._children.setdefault(base_path, {})
        for version in versions:
            folder[str(version)] = outcome
            self._files.discard(f"{base_path}/{version}")

    def corrupt(
        self,
        base_path: str,
        *versions: int | str,
        code: Code = Code.DATA_LOSS,
        error: str = "Can't parse saved_model.pb as binary proto",
        seconds: float | None = None,
    ) -> None:
        """Show versions of which every attempt to load fails."""
        self.put(base_path, *versions)
        took = self.seconds if seconds is None else seconds
        broken = LoadOutcome(took, code, error)
        self._children[base_path].update(dict.fromkeys(map(str, versions), broken))

    def file(self, base_path: str, name: str) -> None:
        """Put a plain file where a version's folder should be."""
        self.put(base_path, name)
        self._files.add(f"{base_path}/{name}")

    def vanish(self, base_path: str, *versions: int | str) -> None:
        """Take versions away, or without any the base path itself."""
        if not versions:
            self._children.pop(base_path, None)
        for version in versions:
            self._children.get(base_path, {}).pop(str(version), None)

    def children(self, base_path: str) -> list[str] | None:
        """List a base path."""
        folder = self._children.get(base_path)
        return None if folder is None else list(folder)

    def measure(self, path: str) -> str | None:
        """Refuse plain files."""
        return f"{path}; Not a directory" if path in self._files else None

    def load(self, path: str) -> LoadOutcome:
        """Answer as was set; what has vanished meanwhile is not found."""
        base_path, _, version = path.rpartition("/")
        missing = LoadOutcome(0.0, Code.NOT_FOUND, NOT_A_SAVED_MODEL.format(path=path))
        return self._children.get(base_path, {}).get(version, missing)
