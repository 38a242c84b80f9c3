"""One effect and one answer for each Idempotency-Key, across lost replies, crashes and replicas."""

from datetime import datetime

from control_plane.failpoints import failpoint
from control_plane.store import idempotency
from control_plane.store.database import Database, Session
from control_plane.store.idempotency import Stored

__all__ = ["Stored", "recall", "remember"]


async def recall(db: Database, actor: str, key: str, body_hash: str) -> Stored | None:
    """Return the answer that this key was given before, if it was.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    await failpoint("idempotency.before_recall")
    async with db.read() as s:
        found = await idempotency.recall(s, actor, key, body_hash)
    await failpoint("idempotency.recalled")
    return found


async def remember(
    s: Session, identity: tuple[str, str, str], answer: Stored, now: datetime
) -> None:
    """Keep the answer in the transaction that made it true; `identity` is actor, key, body hash."""
    actor, key, body_hash = identity
    await failpoint("idempotency.before_remember")
    await idempotency.remember(s, actor, key, body_hash, answer, now)
    await failpoint("idempotency.remembered")
