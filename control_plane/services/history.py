"""What happened: the journal, and from where a reader of it can go on."""

from dataclasses import dataclass
from typing import Any, Final

from control_plane.domain.events import Event, Wanted
from control_plane.store import journal
from control_plane.store.database import Database

LOOKED_THROUGH: Final = 100_000  # events for one page; what is rarer is looked for on the next


@dataclass(frozen=True, slots=True)
class Told:
    """Events, the newest first, and below which number to look for more; 0: there are none."""

    events: tuple[Event, ...]
    before: int


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


async def newest(db: Database, wanted: Wanted, before: int, limit: int) -> Told:
    """Return wanted events numbered below `before`, or of all if it is 0."""
    async with db.read() as s:
        last = before - 1 if before else await journal.last_seq(s)
        first = max(1, last - LOOKED_THROUGH + 1)
        found = await journal.newest(s, wanted, between=(first, last), limit=limit)
        if len(found) == limit:
            first = found[0].seq
        oldest = await journal.told_at(s, first)
        over = first <= max(1, await journal.first_seq(s)) or (
            wanted.since is not None and oldest is not None and oldest < wanted.since
        )
    return Told(found[::-1], 0 if over else first)


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
