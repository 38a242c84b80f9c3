"""Wake-ups between processes on one PostgreSQL: a NOTIFY with the commit, a LISTEN in each.

They only make things quick: whoever misses one finds out by polling. On SQLite there is nobody to
wake up. A notice carries its sender's origin, so that nobody is woken by what he wrote himself.
"""

import asyncio
import enum
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from control_plane.domain.errors import Transient
from control_plane.failpoints import failpoint
from control_plane.store.database import Database, Session

if TYPE_CHECKING:
    import psycopg

CHANNEL: Final = "tfsctl"
AGAIN_S: Final = 0.5
_MOST_BYTES: Final = 7_900  # PostgreSQL takes 8,000


class Kind(enum.StrEnum):
    """What a notice tells."""

    JOURNAL = "journal"  # it has grown, by events of these fleets
    LEASES = "leases"  # some are free
    MISSED = "missed"  # notices may have been lost until now


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody else did a moment ago."""

    kind: Kind
    fleets: frozenset[str] = frozenset()


def sent(parameter: str) -> ColumnElement[Any]:
    """Return the expression that sends what `told` made, when its transaction commits."""
    return func.pg_notify(CHANNEL, bindparam(parameter))


def told(s: Session, kind: Kind, fleets: Iterable[str] = ()) -> str:
    """Return a notice from here; one that is too long tells of all by naming none."""
    text = " ".join((s.info["origin"], kind, *sorted({one for one in fleets if one})))
    if len(text.encode()) > _MOST_BYTES:
        return f"{s.info['origin']} {Kind.MISSED}"
    return text


def heard_by_others(s: Session) -> bool:
    """Whether there may be others to tell."""
    return bool(s.dialect.name == "postgresql")


async def tell(s: Session, kind: Kind) -> None:
    """Send a notice when this transaction commits."""
    if heard_by_others(s):
        await s.execute(select(sent("told")), {"told": told(s, kind)})


async def follow(db: Database, heard: Callable[[Notice], None]) -> None:
    """Call `heard` with every notice of others, until cancelled; returns at once on SQLite."""
    while True:
        with suppress(Transient):
            connection = await db.of_its_own()
            if connection is None:
                return
            await _listen(connection, db.origin, heard)
        await asyncio.sleep(AGAIN_S)


async def _listen(
    connection: "psycopg.AsyncConnection[Any]", origin: str, heard: Callable[[Notice], None]
) -> None:
    from psycopg import Error  # here, as SQLite does without its 10 MB

    try:
        with suppress(Error):
            await connection.set_autocommit(True)
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            await failpoint("notice.listening")
            heard(Notice(Kind.MISSED))
            async for one in connection.notifies():
                if (notice := _read(one.payload, origin)) is not None:
                    await failpoint("notice.heard")
                    heard(notice)
    finally:
        await connection.close()


def _read(text: str, origin: str) -> Notice | None:
    """Read a notice of others; what a newer program tells in its own words is something missed."""
    who, _, rest = text.partition(" ")
    if who == origin:
        return None
    kind, *fleets = rest.split(" ")
    known = kind in Kind.__members__.values()
    return Notice(Kind(kind), frozenset(fleets)) if known else Notice(Kind.MISSED)
