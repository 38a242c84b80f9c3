"""Failpoints: places at which a test has this process killed, held up or failed.

They do nothing unless the setting `failpoints` arms them: `NAME=ACTION`, with commas, where the
action is `die` (a kill -9, at that very place), `sleep:SECONDS` (of this task alone) or `raise` (as
if the database had not answered), and `@N` after it means the N-th pass in this process only.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from control_plane.domain.errors import FieldInvalid, StoreBusy

# Every name there is, in the order of a promotion; mypy lets nobody write another one.
Failpoint: TypeAlias = Literal[
    # A request that changes something: its transaction, its answer, and whom it wakes.
    "request.begun",
    "request.refused",
    "request.committed",
    "idempotency.before_recall",
    "idempotency.recalled",
    "idempotency.before_remember",
    "idempotency.remembered",
    "promote.decided",
    "promote.before_commit",
    "promote.committed",
    "rollback.decided",
    "rollback.held",
    "rollback.before_commit",
    "rollback.committed",
    "steer.before_commit",
    "steer.committed",
    "change.superseded",
    "change.revision_appended",
    "change.rollout_added",
    "wakeup.before_nudge",
    "wakeup.nudged",
    "notice.listening",
    "notice.heard",
    # A pass over a server.
    "server.looked",
    "server.planned",
    "intent.before_commit",
    "intent.committed",
    "push.before_send",
    "push.answered",
    "push.verified",
    "record.before_commit",
    "record.committed",
    "rollouts.told",
    # A rollout that goes on.
    "advance.begun",
    "advance.before_commit",
    "advance.committed",
    "revert.before_append",
    "revert.appended",
    "label.verified",
    "rollout.saved",
    "step.ended",
    "rollout.ended",
    # What is done beside it.
    "hook.before_written",
    "hook.written",
    "hook.begun",
    "hook.called",
    "hook.before_result",
    "hook.result_written",
    "hook.events_read",
    "evidence.begun",
    "evidence.planned",
    "evidence.kept",
    "flush.begun",
    "flush.before_commit",
    "flush.committed",
    # The right to do all that.
    "lease.before_renew",
    "lease.renewed",
    "lease.renew_committed",
    "lease.before_acquire",
    "lease.acquired",
    "lease.acquire_committed",
    "lease.before_release",
    "lease.released",
    "lease.release_committed",
    "fleet.before_take_up",
    "fleet.taken_up",
    "handover.begun",
    "handover.drained",
    "handover.left",
    "handover.released",
    "start.led",
    "stop.begun",
    "stop.left",
]
NAMES: Final[tuple[str, ...]] = get_args(Failpoint)
_TERM: Final = re.compile(r"(?P<do>die|raise|sleep:(?P<s>\d+(\.\d+)?))(@(?P<nth>[1-9]\d*))?")
_HINT: Final = "NAME=die, NAME=raise or NAME=sleep:SECONDS, each also with @N, with commas"


@dataclass(slots=True)
class Armed:
    """What happens at a failpoint, and how often it was passed."""

    name: str
    does: str  # die | raise | sleep
    sleep_s: float = 0.0
    nth: int = 0  # on this pass alone; 0: on each
    passes: int = 0

    async def passed(self) -> None:
        """Do it, if this is the pass.

        Raises:
            StoreBusy: it is to fail.
        """
        self.passes += 1
        if self.nth not in (0, self.passes):
            return
        os.write(sys.stderr.fileno(), f"failpoint {self.name} {self.does}\n".encode())
        match self.does:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raise":
                raise StoreBusy(f"failpoint {self.name}")
            case _:
                await asyncio.sleep(self.sleep_s)


class _Nothing:
    """Awaited, it is done at once: half of what a coroutine costs."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return _DONE


_DONE: Final[Generator[None, None, None]] = iter(())  # type: ignore[assignment] # one that is over
_NOTHING: Final = _Nothing()
_armed: Final[dict[str, Armed]] = {}


def failpoint(name: Failpoint) -> Awaitable[None]:
    """Mark a place; await it there."""
    return _armed[name].passed() if name in _armed else _NOTHING


def arm(text: str) -> None:
    """Arm these failpoints, and no others, in this process.

    Raises:
        FieldInvalid: no such failpoint, no such action, or two for one.
    """
    found = read(text)
    _armed.clear()
    _armed.update(found)


def read(text: str) -> Mapping[str, Armed]:
    """Read which failpoints are meant, and what they shall do.

    Raises:
        FieldInvalid: no such failpoint, no such action, or two for one.
    """
    found: dict[str, Armed] = {}
    for one in map(_read, text.split(",") if text.strip() else ()):
        if one.name in found:
            raise FieldInvalid("failpoints", f"{one.name} is given twice")
        found[one.name] = one
    return found


def _read(text: str) -> Armed:
    name, _, action = text.strip().partition("=")
    if name not in NAMES:
        known = ", ".join(NAMES)
        raise FieldInvalid("failpoints", f"there is no {name[:80]!r}; there are: {known}")
    found = _TERM.fullmatch(action)
    if found is None:
        raise FieldInvalid("failpoints", f"{name} cannot do {action[:80]!r}", hint=_HINT)
    does = found["do"].partition(":")[0]
    return Armed(name, does, float(found["s"] or 0), int(found["nth"] or 0))
