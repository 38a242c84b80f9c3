"""A disk of some megabytes that is filled to its last byte, and freed again.

It is a file system of its own, in memory; only root makes one, where it is allowed at all.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SIZE = "64m"
_BALLAST = "ballast"
_PIECE = bytes(64 << 10)


@dataclass(frozen=True)
class SmallDisk:
    """A mounted disk; what is on it is gone at the end."""

    folder: Path

    def fill(self) -> None:
        """Leave no room at all."""
        piece = _PIECE
        with (self.folder / _BALLAST).open("ab", buffering=0) as ballast:
            while piece:
                try:
                    ballast.write(piece)
                except OSError:
                    piece = piece[: len(piece) // 2]

    def free(self) -> None:
        """Give the room back."""
        (self.folder / _BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a disk on a new folder while the block runs.

    Raises:
        PermissionError: this is not allowed here.
    """
    folder.mkdir()
    if not _done("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)):
        raise PermissionError(f"nothing can be mounted on {folder}")
    try:
        yield SmallDisk(folder)
    finally:
        _done("umount", "--lazy", str(folder))


def allowed() -> bool:
    """Whether disks can be mounted here."""
    with (
        suppress(PermissionError),
        tempfile.TemporaryDirectory() as home,
        small_disk(Path(home, "disk")),
    ):
        return True
    return False


def _done(*command: str) -> bool:
    with suppress(OSError):  # there is no such program
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False
