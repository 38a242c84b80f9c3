"""One call of the API as a value: what to send, and, by its type, what comes back."""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)
API = "/api/v1"


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request that answers with a `T_co`."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None  # a body that is sent as it is, instead of `body`
    retried: bool = True  # whether a busy answer (503) is worth another try

    def dry(self) -> "Call[Any]":
        """Ask for the plan only; nothing is changed."""
        return replace(self, query={**self.query, "dry_run": "true"})

    def waiting(self, seconds: float) -> "Call[T_co]":
        """Hold the answer until the rollout is over, that long at most."""
        return replace(self, headers={**self.headers, "Prefer": f"wait={int(seconds)}"})

    def matching(self, etag: str) -> "Call[T_co]":
        """Refuse to change what is not in this state any more."""
        return replace(self, headers={**self.headers, "If-Match": etag})

    def page(self, token: str) -> "Call[T_co]":
        """Ask for the page of a list that the token names."""
        return replace(self, query={**self.query, "page_token": token})


def path_of(*parts: str | int) -> str:
    """Join path segments below the API's root, each one quoted; a verb's colon stays."""
    quoted = (urllib.parse.quote(str(part), safe=":") for part in parts)
    return "/".join((API, *quoted))


def given(**fields: Any) -> dict[str, Any]:
    """Keep the fields that were given: not None, not empty, not False."""
    return {
        name: value
        for name, value in fields.items()
        if value or (value == 0 and value is not False)
    }
