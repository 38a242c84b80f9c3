"""Leases: which process may write to a fleet, by the database's clock.

The epoch grows with every acquisition, and each write of a leader is conditional on its epoch,
so a leader that was paused and overtaken cannot write. The check holds a share lock to the end
of its transaction; the server's idle timeout takes it from a process that froze inside one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, update

from control_plane.domain.errors import LeaseLost
from control_plane.store import notices, rows
from control_plane.store.database import Session
from control_plane.store.replica_tables import ReplicaRow
from control_plane.store.tables import LeaseRow, clock

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_FORGET_S = 600.0
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


async def renew(s: Session, held: Collection[Lease], ttl_s: float) -> tuple[Lease, ...]:
    """Extend those of one holder's leases that neither expired nor were taken, and return them.

    Rows are locked in the order of their fleets' names, as every writer of several does.
    """
    mine = {(one.fleet, one.holder, one.epoch) for one in held}
    asked = (LeaseRow.fleet.in_([one.fleet for one in held]), LeaseRow.expires_at > clock())
    table = rows.table_of(LeaseRow)
    lock = select(table).where(*asked).order_by(LeaseRow.fleet).with_for_update(key_share=True)
    found = [Lease(**one) for one in await rows.all_of(s, lock)] if held else []
    still = [one.fleet for one in found if (one.fleet, one.holder, one.epoch) in mine]
    if not still:
        return ()
    changed = update(table).where(table.c.fleet.in_(still)).values(expires_at=clock(ttl_s))
    answer = await s.execute(changed.returning(*table.c))
    return tuple(Lease(**one) for one in answer.mappings())


async def left(s: Session) -> Mapping[str, tuple[Lease, float]]:
    """Return every lease that was ever taken, with the seconds left of it; 0 or less: it is free.

    A lease outlives its fleet.
    """
    found = await rows.all_of(s, select(rows.table_of(LeaseRow), clock().label("now")))
    told = [(one["now"], Lease(**{k: v for k, v in one.items() if k != "now"})) for one in found]
    return {one.fleet: (one, (one.expires_at - now).total_seconds()) for now, one in told}


async def holder(s: Session, fleet: str) -> Lease | None:
    """Return the lease that is in force; None if nobody leads the fleet."""
    table = rows.table_of(LeaseRow)
    asked = select(table).where(LeaseRow.fleet == fleet, LeaseRow.expires_at > clock())
    found = (await s.execute(asked)).mappings().first()
    return None if found is None else Lease(**found)


async def release(s: Session, lease: Lease) -> None:
    """Give a lease up, so that a successor need not wait; nothing happens if it was lost."""
    changed = update(rows.table_of(LeaseRow)).where(*_held(lease))
    await s.execute(changed.values(holder="", expires_at=_NEVER))
    await notices.tell(s, notices.Kind.LEASES)


async def beat(s: Session, replica: str, ttl_s: float) -> int:
    """Say that a replica lives, and return how many do."""
    table = rows.table_of(ReplicaRow)
    lives = update(table).where(table.c.id == replica).values(expires_at=clock(ttl_s))
    if (await s.execute(lives.returning(table.c.id))).first() is None:
        await s.execute(delete(table).where(table.c.expires_at < clock(-_FORGET_S)))
        await rows.insert_new(s, ReplicaRow, id=replica, expires_at=_NEVER)
        await s.execute(lives)
    count = select(func.count()).where(table.c.expires_at > clock())
    return int((await s.execute(count)).scalar_one())


async def leave(s: Session, replica: str) -> None:
    """Say that a replica ends."""
    table = rows.table_of(ReplicaRow)
    await s.execute(delete(table).where(table.c.id == replica))


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
