"""What a use case calls inside its transaction, last, with what it is about to return.

The caller stores its answer to an Idempotency-Key there, or raises to have all of it undone.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from control_plane.store.database import Session

T = TypeVar("T")
Commit: TypeAlias = Callable[[Session, T], Awaitable[None]]


async def nothing_more(s: Session, outcome: object) -> None:
    """Commit as it is."""
    del s, outcome
