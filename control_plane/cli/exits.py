"""Exit codes: what a script may branch on."""

import enum

from control_plane.client import ApiError, ClientError, WaitedTooLong
from control_plane.client.answers import Rollout
from control_plane.domain.errors import Conflict, ControlPlaneError, Denied, Invalid, NotFound


class ExitCode(enum.IntEnum):
    """How a command ended."""

    DONE = 0  # or there was nothing to do
    FAILED = 1
    USAGE = 2  # wrong usage, or the API found the request invalid (422)
    NOT_FOUND = 3
    DENIED = 4  # not logged in, or not allowed
    CONFLICT = 5
    BLOCKED = 6  # by a gate
    TIMED_OUT = 7  # while waiting; the rollout goes on
    ROLLOUT_FAILED = 8  # failed, rolled back or aborted
    LAGGARDS = 9  # succeeded, but some servers are to be caught up on their return
    WOULD_CHANGE = 10  # --dry-run --exit-code
    PROBLEM = 11  # the doctor, or a check of the audit chain, found one
    INTERRUPTED = 130


_BY_CODE = {"gate-blocked": ExitCode.BLOCKED}
_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    423: ExitCode.CONFLICT,
}


def of_error(error: ClientError | ControlPlaneError) -> ExitCode:
    """Return how a command ends that met this error."""
    match error:
        case WaitedTooLong():
            return ExitCode.TIMED_OUT
        case ApiError():
            by_status = _BY_STATUS.get(error.status, ExitCode.FAILED)
            return _BY_CODE.get(error.code, by_status)
        case Invalid():
            return ExitCode.USAGE
        case NotFound():
            return ExitCode.NOT_FOUND
        case Denied():
            return ExitCode.DENIED
        case Conflict():
            return ExitCode.CONFLICT
        case _:
            return ExitCode.FAILED


def of_rollout(rollout: Rollout) -> ExitCode:
    """Return how a command ends that waited for this rollout."""
    if rollout["phase"] != "succeeded":
        return ExitCode.ROLLOUT_FAILED
    return ExitCode.LAGGARDS if rollout.get("laggards") else ExitCode.DONE
