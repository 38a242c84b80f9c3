"""What happened: the journal, and from where a reader of it can go on."""

from dataclasses import dataclass
from typing import Any

from control_plane.domain.events import Event
from control_plane.store import journal
from control_plane.store.database import Database


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream goes on; `reset` says that what the reader knew is of no use any more."""

    after: int
    first: int
    last: int
    reset: bool = False


async def events(
    db: Database, after: int, limit: int, *, fleet: str = "", model: str = "", kind: str = ""
) -> tuple[Event, ...]:
    """Return events with a number above `after`, in order."""
    async with db.read() as s:
        return await journal.events(s, after, limit, fleet=fleet, model=model, kind=kind)


async def resume(db: Database, asked: str) -> Place:
    """Find where a reader that saw the event `asked` last goes on; "" is a new one, from now on.

    A number that is too old, or that this journal has not given out, means a reset.
    """
    async with db.read() as s:
        first, last = await journal.first_seq(s), await journal.last_seq(s)
    if not asked:
        return Place(last, first, last)
    if not asked.isascii() or not asked.isdigit() or not first - 1 <= int(asked) <= last:
        return Place(last, first, last, reset=True)
    return Place(int(asked), first, last)


def event_json(event: Event) -> dict[str, Any]:
    """An event, as the API shows it; what it does not concern is left out."""
    document = {
        "seq": event.seq,
        "kind": str(event.kind),
        "at": event.at.isoformat(),
        "actor": event.actor,
        "fleet": event.fleet,
        "model": event.model,
        "server": event.server,
        "rollout": event.rollout,
        "revision": event.revision,
        "reason": event.reason,
        "data": dict(event.data),
    }
    return {key: value for key, value in document.items() if value or key in ("seq", "actor")}
