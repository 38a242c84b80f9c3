"""Shares of a fleet: all servers, the first N of them, or P percent."""

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from control_plane.domain.errors import FieldInvalid

_PERCENT: Final = re.compile(r"([1-9]\d?|100)%\Z")
_MOST_SERVERS: Final = 10_000
_HINT: Final = '"all", a number of servers from 1, or "1%" to "100%"'


@dataclass(frozen=True, slots=True)
class Share:
    """Some of a fleet's servers; always at least one, in order of name."""

    count: int = 0
    percent: int = 0  # 0: `count` says how many

    @property
    def whole(self) -> bool:
        """Whether it is all servers, however many there are."""
        return self.percent == 100

    def of(self, servers: int) -> int:
        """Return how many of so many servers these are; part of a server is one."""
        wanted = math.ceil(servers * self.percent / 100) if self.percent else self.count
        return min(wanted, servers)

    def to_json(self) -> str | int:
        """Return it as a document says it."""
        if self.whole:
            return "all"
        return f"{self.percent}%" if self.percent else self.count


ALL: Final = Share(percent=100)


def parse_share(path: str, value: Any) -> Share:
    """Read a share.

    Raises:
        FieldInvalid: no servers at all, or nothing that says how many.
    """
    if value == "all":
        return ALL
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SERVERS:
        return Share(count=value)
    if isinstance(value, str) and (found := _PERCENT.match(value)):
        return Share(percent=int(found[1]))
    raise FieldInvalid(path, f"{value!r} is no share of the servers"[:200], hint=_HINT)


def growing(earlier: Share, later: Share) -> bool:
    """Whether a wave is sure to cover more than the one before, whatever the number of servers."""
    if later.percent:
        return later.percent > earlier.percent
    return not earlier.percent and later.count > earlier.count
