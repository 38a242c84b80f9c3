"""Which fleets this process may write to, and for how long yet.

The lease runs by the database's clock; we give it up earlier, by our own monotonic one, so that we
stop before a successor starts even if every answer of the database is slow.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from control_plane.domain.errors import LeaseLost
from control_plane.store import leases
from control_plane.store.database import Database, Session
from control_plane.store.leases import Lease

TTL_S = 6.0
RENEW_S = 2.0
DEMOTE_S = 4.0  # our own end of a lease, counted from before it was asked for
SEND_MARGIN_S = 1.0  # a push needs this much of it


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    asked_at: float  # monotonic


class Leadership:
    """The leases of this process."""

    def __init__(self, db: Database, holder: str, monotonic: Callable[[], float]) -> None:
        self._db = db
        self._holder = holder
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}
        self._last_epoch: dict[str, int] = {}

    def epoch(self, fleet: str) -> int | None:
        """The fencing number for writes to a fleet; None when it is not ours to write to."""
        held = self._held.get(fleet)
        if held is None or self._left_s(held) <= 0:
            return None
        return held.lease.epoch

    def may_push(self, fleet: str) -> bool:
        """Whether enough of the lease is left to send a reload."""
        held = self._held.get(fleet)
        return held is not None and self._left_s(held) >= SEND_MARGIN_S

    async def keep(self, fleets: Iterable[str]) -> frozenset[str]:
        """Renew or take the leases of these fleets.

        Returns the fleets whose state in memory may be older than the database's: those that were
        taken, unless nobody else had them since.
        """
        asked_at = self._monotonic()
        kept: dict[str, Lease] = {}
        async with self._db.begin() as s:
            for fleet in fleets:
                lease = await self._keep(s, fleet)
                if lease is not None:
                    kept[fleet] = lease
        self._held = {fleet: _Held(lease, asked_at) for fleet, lease in kept.items()}
        return frozenset(fleet for fleet, lease in kept.items() if self._is_news(fleet, lease))

    async def release(self) -> None:
        """Give all leases up, so that a successor need not wait."""
        held, self._held = self._held, {}
        async with self._db.begin() as s:
            for one in held.values():
                await leases.release(s, one.lease)

    async def _keep(self, s: Session, fleet: str) -> Lease | None:
        held = self._held.get(fleet)
        if held is not None:
            try:
                return await leases.renew(s, held.lease, TTL_S)
            except LeaseLost:
                pass
        return await leases.acquire(s, fleet, self._holder, TTL_S)

    def _is_news(self, fleet: str, lease: Lease) -> bool:
        last = self._last_epoch.get(fleet)
        self._last_epoch[fleet] = lease.epoch
        return last is None or lease.epoch > last + 1

    def _left_s(self, held: _Held) -> float:
        return held.asked_at + DEMOTE_S - self._monotonic()
