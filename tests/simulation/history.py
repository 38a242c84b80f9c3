"""The history of a simulated run, in the form that the checker of chaos runs reads."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.chaos.history import Record
from tests.simulation.database import EPOCH


class Pen:
    """Writes down what happens now, or happened at `at_t`."""

    def __init__(self) -> None:
        self._lines: list[Record] = []

    def write(self, by: str, kind: str, *, at_t: float | None = None, **data: Any) -> None:
        t = asyncio.get_running_loop().time() if at_t is None else at_t
        at = EPOCH.timestamp() + t
        self._lines.append({"t": t, "at": at, "by": by, "kind": kind, **data})

    def history(self) -> list[Record]:
        """Everything so far, in the order of time."""
        return sorted(self._lines, key=lambda one: float(one["t"]))

    def digest(self, home: Path) -> str:
        """A name of all of it, wherever the run had its files: the same for the same history."""
        lines = "\n".join(json.dumps(one, sort_keys=True) for one in self._lines)
        return hashlib.sha256(lines.replace(str(home), "").encode()).hexdigest()[:16]
