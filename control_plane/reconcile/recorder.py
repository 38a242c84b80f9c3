"""Writes what passes found, several at a time: who waits for the disk shares one transaction.

Every entry is conditional on its epoch, and an intent also on the revision that it was made from:
what was rolled back a moment ago is not flipped any more. (Steps of rollouts are our own doing.)
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.domain.errors import Rejected, Transient
from control_plane.domain.events import Event
from control_plane.failpoints import failpoint
from control_plane.store import fleets, journal
from control_plane.store.database import Database


class DesiredMoved(Transient):
    """The desired state changed while the push was made ready."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a server now, and what happened there."""

    fleet: str
    server: str
    epoch: int
    document: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    head: int | None = None  # the fleet's newest revision must still be this one


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    written: bool = False


class Recorder:
    """One transaction at a time; entries that come meanwhile share the next one."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._turn = asyncio.Lock()
        self._waiting: list[_Waiting] = []

    async def write(self, entry: Entry) -> None:
        """Commit an entry.

        Raises:
            DesiredMoved: the fleet's head is not `entry.head` any more.
            LeaseLost: another process reconciles the fleet.
            NotFound: the server was removed.
            StoreBusy: the database is busy, or its answer was lost.
        """
        mine = _Waiting(entry)
        self._waiting.append(mine)
        try:
            async with self._turn:
                if not mine.written and not await self._together():
                    await self._commit([mine])
        finally:
            self._waiting = [one for one in self._waiting if one is not mine]

    async def _together(self) -> bool:
        """Commit all that wait; False if one of them spoils it for the others."""
        batch = [one for one in self._waiting if not one.written]
        if len(batch) == 1:
            return False
        try:
            await self._commit(batch)
        except (Rejected, Transient):
            return False
        return True

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        entries = [one.entry for one in batch]
        heads = {(one.fleet, one.head) for one in entries if one.head is not None}
        documents: dict[tuple[str, int], dict[str, Mapping[str, Any]]] = {}
        for one in entries:
            documents.setdefault((one.fleet, one.epoch), {})[one.server] = one.document
        async with self._db.begin() as s:
            for fleet, head in heads:
                if (await fleets.fleet(s, fleet)).head != head:
                    raise DesiredMoved(fleet=fleet)
            for (fleet, epoch), some in sorted(documents.items()):  # one order, so no deadlock
                await fleets.save_observations(s, fleet, some, epoch=epoch)
            await journal.append(s, *(event for one in entries for event in one.events))
            await failpoint("record.before_commit")
        await failpoint("record.committed")
        for waiting in batch:
            waiting.written = True
