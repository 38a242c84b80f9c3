"""Files of model artifacts, on this machine or behind any URL that fsspec opens.

All of it blocks, as storage does: call it in a thread with a timeout.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec

from control_plane.domain.errors import ArtifactMissing

_STAMPS = ("mtime", "ETag", "etag", "LastModified", "updated", "created")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells one state of a file from another without reading it."""

    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Child:
    """One entry of a folder."""

    name: str
    is_folder: bool


@contextmanager
def seen(path: str) -> Iterator[None]:
    """Turn whatever keeps storage from being seen into one error that names the place.

    Raises:
        ArtifactMissing: it is not there, not allowed, or of a kind that nothing here opens.
    """
    try:
        yield
    except FileNotFoundError:
        raise ArtifactMissing(f"{path} does not exist", looked_for=path) from None
    except (OSError, ImportError, ValueError) as error:
        raise ArtifactMissing(f"{path} cannot be seen: {error}", looked_for=path) from None


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder, whatever kind of path it is."""
    return f"{folder.rstrip('/')}/{name}"


def children(folder: str) -> list[Child]:
    """List a folder, sorted by name."""
    local = _local(folder)
    if local is not None:
        with os.scandir(local) as entries:
            found = [Child(entry.name, entry.is_dir()) for entry in entries]
    else:
        files, root = _remote(folder)
        found = [
            Child(_relative(root, info["name"]), info["type"] == "directory")
            for info in files.ls(root, detail=True)
        ]
    return sorted((child for child in found if child.name), key=lambda child: child.name)


def tree(folder: str) -> Mapping[str, Stat]:
    """List every file below a folder by its name relative to it, sorted.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: a file is in its place.
    """
    local = _local(folder)
    found = _local_tree(local) if local is not None else _remote_tree(folder)
    return dict(sorted(found.items()))


def read(folder: str, name: str) -> bytes:
    """Return a file's content."""
    with _opened(join(folder, name)) as file:
        return file.read()


def chunks(folder: str, name: str) -> Iterator[bytes]:
    """Yield a file's content piece by piece."""
    with _opened(join(folder, name)) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _opened(path: str) -> IO[bytes]:
    local = _local(path)
    if local is not None:
        return local.open("rb")
    files, root = _remote(path)
    opened: IO[bytes] = files.open(root, "rb")
    return opened


def _local(path: str) -> Path | None:
    if path.startswith("/"):
        return Path(path)
    return Path(path.removeprefix("file://")) if path.startswith("file:///") else None


def _remote(path: str) -> tuple[Any, str]:
    files, root = fsspec.core.url_to_fs(path)
    files.invalidate_cache()  # a listing from before says nothing about now
    return files, root.rstrip("/")


def _local_tree(folder: Path) -> dict[str, Stat]:
    if not folder.is_dir():
        raise NotADirectoryError(folder) if folder.exists() else FileNotFoundError(folder)
    found = {}
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(parent, name)
            stat = path.stat()
            found[path.relative_to(folder).as_posix()] = Stat(stat.st_size, str(stat.st_mtime_ns))
    return found


def _raise(error: OSError) -> None:
    raise error


def _remote_tree(folder: str) -> dict[str, Stat]:
    files, root = _remote(folder)
    if not files.isdir(root):
        raise NotADirectoryError(folder) if files.exists(root) else FileNotFoundError(folder)
    return {
        _relative(root, name): Stat(info.get("size") or 0, _stamp(info))
        for name, info in files.find(root, detail=True).items()
    }


def _relative(root: str, name: str) -> str:
    return name.rstrip("/").removeprefix(root.lstrip("/") if name[:1] != "/" else root).strip("/")


def _stamp(info: Mapping[str, Any]) -> str:
    return next((str(info[key]) for key in _STAMPS if info.get(key)), "")
