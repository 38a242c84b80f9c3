"""Leases: which process may write to a fleet, by the database's clock.

The epoch grows with every acquisition, and each write of a leader is conditional on its epoch,
so a leader that was paused and overtaken cannot write. The check holds a share lock to the end
of its transaction; the server's idle timeout takes it from a process that froze inside one.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, update

from control_plane.domain.errors import LeaseLost
from control_plane.store import rows
from control_plane.store.database import Session
from control_plane.store.tables import LeaseRow, clock

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_HELD = (
    rows.by_key(LeaseRow, ("fleet", "epoch"))
    .where(LeaseRow.expires_at > clock())
    .with_for_update(read=True)
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a fleet until `expires_at`; `epoch` is its fencing number."""

    fleet: str
    holder: str
    epoch: int
    expires_at: datetime


async def acquire(s: Session, fleet: str, holder: str, ttl_s: float) -> Lease | None:
    """Take the lease if it is free or expired, or was this holder's; None if another has it.

    The holder's own lease is taken again at once, under a new epoch: a process that comes back
    under its old name need not wait for its former self to expire.
    """
    await rows.insert_new(s, LeaseRow, fleet=fleet, holder="", epoch=0, expires_at=_NEVER)
    free = or_(LeaseRow.expires_at < clock(), LeaseRow.holder == holder)
    table = rows.table_of(LeaseRow)
    changed = (
        update(table)
        .where(LeaseRow.fleet == fleet, free)
        .values(holder=holder, epoch=table.c.epoch + 1, expires_at=clock(ttl_s))
    )
    found = (await s.execute(changed.returning(*table.c))).mappings().first()
    return None if found is None else Lease(**found)


async def renew(s: Session, lease: Lease, ttl_s: float) -> Lease:
    """Extend a lease that is still held.

    Raises:
        LeaseLost: it expired, or another took it.
    """
    table = rows.table_of(LeaseRow)
    held = (*_held(lease), LeaseRow.expires_at > clock())
    changed = update(table).where(*held).values(expires_at=clock(ttl_s))
    found = (await s.execute(changed.returning(*table.c))).mappings().first()
    if found is None:
        raise LeaseLost(fleet=lease.fleet, epoch=lease.epoch)
    return Lease(**found)


async def release(s: Session, lease: Lease) -> None:
    """Give a lease up, so that a successor need not wait; nothing happens if it was lost."""
    changed = update(rows.table_of(LeaseRow)).where(*_held(lease))
    await s.execute(changed.values(holder="", expires_at=_NEVER))


async def check(s: Session, fleet: str, epoch: int) -> None:
    """Make sure that this epoch is the fleet's, and stays so until the transaction ends.

    Raises:
        LeaseLost: it is not, or the lease expired.
    """
    if (await s.execute(_HELD, {"fleet": fleet, "epoch": epoch})).first() is None:
        raise LeaseLost(fleet=fleet, epoch=epoch)


def _held(lease: Lease) -> tuple[Any, ...]:
    return (
        LeaseRow.fleet == lease.fleet,
        LeaseRow.holder == lease.holder,
        LeaseRow.epoch == lease.epoch,
    )
