"""The history of a run: one JSON object a line, written by everybody who saw or did something.

Every line has `t` (the machine's monotonic clock, the same for all of its processes), `at` (POSIX
time), `by` and `kind`. Kinds, and who writes them:

clients     api.call, api.ok, api.refused, api.unknown: each try of an operation; `op` names it, is
            its Idempotency-Key and its reason. api.ok tells `rollout` and `revision`.
watchers    events.read (`seqs`), revisions.read (`numbers`), leader.read (`epoch`, `holder`)
predictors  predict.ok (`version`), predict.err (`code`), both with `began`, `server`, `label`
servers     server.began, reload.began, config.applied, reload.ended, version.state
nemeses     fault.on, fault.off (`fault`, `target`)
runner      run (`servers`: a name -> who it is in `by`; `flagged`: those that take labels on what
            is not loaded yet), healed, end, and journal (`event`): the control plane's own record
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]


class Pen:
    """Appends to a history file; a line is whole or not there."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)

    def write(self, by: str, kind: str, **data: Any) -> Record:
        """Append what happens now; `t` and `at` in `data` override that."""
        line = {"t": time.monotonic(), "at": time.time(), "by": by, "kind": kind, **data}
        self._file.write(json.dumps(line).encode() + b"\n")
        return line

    def close(self) -> None:
        self._file.close()


def read(files: Iterable[Path]) -> list[Record]:
    """Read files into one history, in the order of time."""
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda one: float(one["t"]))


def events(history: Sequence[Record]) -> list[Record]:
    """Return the control plane's journal, in its own order."""
    told = [one["event"] for one in history if one["kind"] == "journal"]
    return sorted(told, key=lambda one: int(one["seq"]))


def run_of(history: Sequence[Record]) -> Record:
    """Return what the run was about."""
    return next(one for one in history if one["kind"] == "run")
