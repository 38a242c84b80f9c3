"""What can go wrong for a caller of the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class ClientError(Exception):
    """A call did not give what was asked for."""


class Unreachable(ClientError):
    """The control plane does not answer at this address."""

    def __init__(self, base_url: str, cause: str) -> None:
        super().__init__(f"no control plane answers at {base_url}: {cause}")
        self.base_url = base_url


class WaitedTooLong(ClientError):
    """The rollout was not over in time; it goes on."""

    def __init__(self, rollout: Mapping[str, Any], timeout_s: float) -> None:
        super().__init__(
            f"rollout {rollout['id']} is {rollout['phase']} after {timeout_s:g} s and goes on"
        )
        self.rollout = rollout


@dataclass(frozen=True)
class Problem:
    """The members of an `application/problem+json` answer."""

    status: int
    code: str
    title: str = ""
    detail: str = ""
    hint: str = ""
    request_id: str = ""
    errors: Sequence[Mapping[str, str]] = ()
    blockers: Sequence[Any] = ()
    members: Mapping[str, Any] = field(default_factory=dict)  # the whole body

    @classmethod
    def of(cls, status: int, body: object, text: str = "") -> "Problem":
        """Read a problem; anything else, a proxy's page say, becomes one of its own."""
        if not isinstance(body, Mapping) or "code" not in body:
            return cls(status, "http-error", detail=text.strip()[:500])
        return cls(
            status,
            str(body["code"]),
            title=str(body.get("title", "")),
            detail=str(body.get("detail", "")),
            hint=str(body.get("hint", "")),
            request_id=str(body.get("request_id", "")),
            errors=tuple(body.get("errors", ())),
            blockers=tuple(body.get("blockers", ())),
            members=body,
        )


class ApiError(ClientError):
    """The control plane refused or failed; `problem` says which and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title or f"HTTP {problem.status}")
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail
        self.hint = problem.hint
