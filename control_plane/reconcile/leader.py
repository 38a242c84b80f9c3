"""Which fleets this process may write to, and for how long yet.

The lease runs by the database's clock; we give it up earlier, by our own monotonic one, so that we
stop before a successor starts even if every answer of the database is slow. Replicas that live say
so in the database; each leads its share of the fleets at most, and leaves the rest to the others.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from control_plane.domain.errors import StoreBusy, StoreFull
from control_plane.domain.leasing import Terms, fair_share
from control_plane.failpoints import failpoint
from control_plane.store import fleets, leases
from control_plane.store.database import Database
from control_plane.store.leases import Lease

_TICK_S = 0.02  # past the end of a lease, so that it has ended by the database's clock too


@dataclass(frozen=True, slots=True)
class Kept:
    """Which fleets are ours after a round."""

    fleets: frozenset[str]
    news: frozenset[str]  # what we hold of them in memory may be older than the database
    surplus: int  # so many of them are the others'
    again_s: float  # when the next round is due


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    asked_at: float  # monotonic


class Leadership:
    """The leases of this process."""

    def __init__(
        self,
        db: Database,
        holder: str,
        monotonic: Callable[[], float],
        terms: Terms = Terms(),  # noqa: B008 - a value
    ) -> None:
        self._db = db
        self._holder = holder
        self._monotonic = monotonic
        self._terms = terms
        self._held: dict[str, _Held] = {}
        self._last_epoch: dict[str, int] = {}
        self._elsewhere: frozenset[str] = frozenset()
        self._names: frozenset[str] = frozenset()
        self._replicas = 0
        self._known_at: float | None = None
        self._full = ""  # what the database said last if it had no room

    def epoch(self, fleet: str) -> int | None:
        """The fencing number for writes to a fleet; None when it is not ours to write to."""
        held = self._held.get(fleet)
        if held is None or self._left_s(held) <= 0:
            return None
        return held.lease.epoch

    def may_push(self, fleet: str) -> bool:
        """Whether enough of the lease is left to send a reload."""
        return self.left_s(fleet) >= self._terms.send_margin_s

    def left_s(self, fleet: str) -> float:
        """How long a fleet is ours yet; 0 when it is not."""
        held = self._held.get(fleet)
        return max(self._left_s(held), 0.0) if held is not None else 0.0

    def led_elsewhere(self, fleet: str) -> bool:
        """Whether another process led this fleet when we looked last."""
        return fleet in self._elsewhere

    @property
    def count(self) -> int:
        """How many fleets are ours now."""
        return sum(self._left_s(one) > 0 for one in self._held.values())

    @property
    def known(self) -> bool:
        """Whether the database ever told who leads."""
        return self._known_at is not None

    def health(self) -> str:
        """Say whether it is known who leads; "ok" or "degraded" and how things stand if so."""
        if self._full:
            return f"degraded: {self._full} Nothing is written or sent to servers"
        if self._known_at is None:
            return "not known yet"
        age_s = self._monotonic() - self._known_at
        if age_s > self._terms.ttl_s:
            return f"the database last told {age_s:.0f} s ago who leads"
        return f"ok: leads {self.count} of {len(self._names)} fleets; replicas: {self._replicas}"

    async def keep(self) -> Kept:
        """Renew our leases, and take free ones up to our share.

        Raises:
            StoreBusy: the database does not answer in time, or is full.
        """
        try:
            kept = await self._kept()
        except StoreBusy as error:
            self._full = error.message if isinstance(error, StoreFull) else ""
            raise
        self._full = ""
        return kept

    async def _kept(self) -> Kept:
        await failpoint("lease.before_renew")
        asked_at, within_s = self._monotonic(), self._terms.patience_s
        async with self._db.begin(within_s) as s:
            names = {one.name for one in await fleets.all_fleets(s)}
            replicas = await leases.beat(s, self._holder, self._terms.ttl_s)
            ours = [one.lease for name, one in self._held.items() if name in names]
            kept = await leases.renew(s, ours, self._terms.ttl_s)
            known = await leases.left(s)
            await failpoint("lease.renewed")
        await failpoint("lease.renew_committed")
        self._held = {one.fleet: _Held(one, asked_at) for one in kept}
        self._names, self._replicas, self._known_at = frozenset(names), replicas, asked_at
        share = fair_share(len(names), replicas)
        others = {name: left for name, left in self._others(known).items() if name in names}
        await self._take([one for one in sorted(names) if self._is_free(one, others)], share)
        self._elsewhere = frozenset(others) - self._held.keys()
        return Kept(
            fleets=frozenset(self._held),
            news=frozenset(name for name, one in self._held.items() if self._is_news(name, one)),
            surplus=max(len(self._held) - share, 0),
            again_s=self._again_s(
                [left for name, left in others.items() if name not in self._held]
            ),
        )

    async def release(self, fleets: Collection[str]) -> None:
        """Give leases up, so that a successor need not wait."""
        held = [one for name in sorted(fleets) if (one := self._held.pop(name, None)) is not None]
        async with self._db.begin(self._terms.patience_s) as s:
            for one in held:
                await leases.release(s, one.lease)

    async def leave(self) -> None:
        """Give everything up: this process ends. It may take as long as the caller lets it."""
        held, self._held = self._held, {}
        await failpoint("lease.before_release")
        async with self._db.begin() as s:
            for _, one in sorted(held.items()):
                await leases.release(s, one.lease)
            await leases.leave(s, self._holder)
            await failpoint("lease.released")
        await failpoint("lease.release_committed")

    async def _take(self, free: Collection[str], share: int) -> None:
        """Take free leases while we have less than our share of them."""
        if not free or len(self._held) >= share:
            return
        asked_at = self._monotonic()
        taken: dict[str, _Held] = {}
        await failpoint("lease.before_acquire")
        async with self._db.begin(self._terms.patience_s) as s:
            for fleet in free:
                if len(self._held) + len(taken) == share:
                    break
                lease = await leases.acquire(s, fleet, self._holder, self._terms.ttl_s)
                if lease is not None:
                    taken[fleet] = _Held(lease, asked_at)
            await failpoint("lease.acquired")
        await failpoint("lease.acquire_committed")
        self._held |= taken

    def _others(self, known: Mapping[str, tuple[Lease, float]]) -> dict[str, float]:
        """How long the leases of others last, by fleet."""
        return {
            name: left_s
            for name, (lease, left_s) in known.items()
            if left_s > 0 and lease.holder != self._holder
        }

    def _is_free(self, fleet: str, others: Collection[str]) -> bool:
        return fleet not in others and fleet not in self._held

    def _is_news(self, fleet: str, held: _Held) -> bool:
        last, epoch = self._last_epoch.get(fleet), held.lease.epoch
        self._last_epoch[fleet] = epoch
        return last is None or epoch > last + 1

    def _again_s(self, others: Collection[float]) -> float:
        """A lease that nobody renews is looked at again when it ends."""
        return min([self._terms.renew_s, *(one + _TICK_S for one in others)])

    def _left_s(self, held: _Held) -> float:
        return held.asked_at + self._terms.demote_s - self._monotonic()
