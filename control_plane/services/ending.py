"""That somebody ended a replica, in the journal."""

from datetime import datetime

from control_plane.domain.events import Event, EventKind
from control_plane.store import journal
from control_plane.store.database import Database


async def requested(db: Database, *, actor: str, client: str, now: datetime) -> None:
    """Write down who asked for it, and from which address.

    Raises:
        StoreBusy: the database is busy.
    """
    data = {"client": client}
    async with db.begin() as s:
        await journal.append(s, Event(EventKind.SHUTDOWN_REQUESTED, now, actor, data=data))
