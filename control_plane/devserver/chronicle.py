"""A file of everything that happened in a server: what was really so, whoever was told what.

One JSON object a line. `t` is the machine's monotonic clock, the same for all of its processes, and
`at` POSIX time. A line is in the file before anybody gets an answer that depends on it, so a
server that is killed loses nothing of it.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from control_plane.devserver.config import All, Entry, Latest, Specific
from control_plane.devserver.machine import News


class Chronicle:
    """Appends to a file; several processes may use the same one."""

    def __init__(self, path: str, port: int) -> None:
        """Open the file and tell that a process began."""
        self._by = f"server:{port}"
        self._file = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.write(News(time.monotonic(), "server.began", {"pid": os.getpid()}))

    def write(self, news: News) -> None:
        """Append one line."""
        data = dict(news.data)
        if "config" in data:
            data["config"] = [_told(one) for one in data["config"]]
        at = time.time() - (time.monotonic() - news.at)
        line = {"t": news.at, "at": at, "by": self._by, "kind": news.kind, **data}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def _told(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "base_path": entry.base_path,
        "versions": _versions(entry),
        "labels": dict(entry.labels),
    }


def _versions(entry: Entry) -> list[int] | str:
    match entry.policy:
        case Specific(versions=versions):
            return sorted(versions)
        case Latest(n=n):
            return f"latest {n}"
        case All():
            return "all"
