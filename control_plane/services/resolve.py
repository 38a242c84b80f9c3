"""Where labels point, answered from memory: the answer is ready as bytes before anybody asks.

The snapshot follows the journal, whoever wrote to it: a change shows within a second. How often it
is made anew depends on what that costs: a tenth of the time, while that leaves it fresh enough.
Whoever wrote here is answered with what was written: the first reader after a write waits for it.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeAlias

from control_plane.domain.errors import NotFound, Transient
from control_plane.domain.steps import has_moved
from control_plane.services import history
from control_plane.services.feed import Feed
from control_plane.services.sight import Sight, look
from control_plane.store import fleets
from control_plane.store.database import Database

RESYNC_S: Final = 10.0  # what no event told of shows after this
_SHARE: Final = 10
_LONGEST_PAUSE_S: Final = 0.25  # with the feed's own and two reads, less than a second
_SETTLE_S: Final = 0.2  # a promotion writes several times, and is what this must not slow down
_MANY: Final = 500
Labels: TypeAlias = Mapping[tuple[str, str], bytes]  # by model and label
_NOTHING: Final[Labels] = {}


class Resolved:
    """The snapshot, and what keeps it fresh."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._fleets: dict[str, Labels] = {}
        self._sights: dict[str, Sight] = {}
        self._turn = asyncio.Lock()  # so that no older look comes after a newer one
        self._done: int | None = None  # the event up to which it is fresh; None: never made
        self._settling = asyncio.Lock()
        self.doubted = False  # something was written here that it may not show yet

    def answer(self, fleet: str, model: str, label: str) -> bytes:
        """Return the whole JSON answer.

        Raises:
            NotFound: no such fleet; the model is not deployed there; it has no such label.
        """
        found = self._fleets.get(fleet, _NOTHING).get((model, label))
        if found is None:
            raise self._missing(fleet, model, label)
        return found

    def sight(self, fleet: str) -> Sight:
        """Return the last look at a fleet.

        Raises:
            NotFound: no such fleet.
        """
        if fleet not in self._sights:
            raise NotFound(f"there is no fleet {fleet}", fleet=fleet)
        return self._sights[fleet]

    def known(self, fleet: str) -> Sight | None:
        """Return the last look at a fleet, if there was one."""
        return self._sights.get(fleet)

    async def refresh(self, fleet: str) -> None:
        """Make the snapshot of a fleet anew."""
        async with self._turn:
            try:
                async with self._db.read() as s:
                    sight = await look(s, fleet, self._sights.get(fleet))
            except NotFound:
                self._forget(fleet)
                return
            self._sights[fleet] = sight
            self._fleets[fleet] = _answers(sight)

    async def refresh_all(self) -> None:
        """Make the whole snapshot anew."""
        async with self._db.read() as s:
            names = {one.name for one in await fleets.all_fleets(s)}
        for name in names | self._fleets.keys():
            await self.refresh(name)

    def doubt(self) -> None:
        """Note that this process wrote: readers are to see it."""
        self.doubted = True

    async def settle(self) -> None:
        """Make sure that all that was written here until now is in the snapshot.

        Raises:
            StoreBusy: the database is busy.
        """
        async with self._settling:
            if not self.doubted:
                return
            self.doubted = False
            try:
                await self._catch_up()
            except BaseException:
                self.doubted = True
                raise

    async def run(self, feed: Feed) -> None:
        """Keep the snapshot fresh until the feed closes."""
        grown = False
        while not feed.closed:
            seen, started = feed.seq, time.monotonic()
            with suppress(Transient):
                await self._catch_up(everything=not grown)
                self._done = max(seen, self._done or 0)
            cost_s = time.monotonic() - started
            await asyncio.sleep(min(_SHARE * cost_s, _LONGEST_PAUSE_S))
            grown = await feed.after(self._done or 0, RESYNC_S, eager=False)
            await asyncio.sleep(_SETTLE_S)

    async def _catch_up(self, *, everything: bool = False) -> None:
        """Look again at the fleets that new events tell of, or at all of them."""
        after = None if everything else self._done
        found = () if after is None else await history.events(self._db, after, _MANY)
        if after is None or len(found) == _MANY:
            last = (await history.resume(self._db, "")).last
            await self.refresh_all()
        else:
            last = found[-1].seq if found else after
            for name in sorted({one.fleet for one in found if one.fleet}):
                await self.refresh(name)
        self._done = max(last, self._done or 0)

    def _forget(self, fleet: str) -> None:
        self._fleets.pop(fleet, None)
        self._sights.pop(fleet, None)

    def _missing(self, fleet: str, model: str, label: str) -> NotFound:
        if fleet not in self._fleets:
            return NotFound(f"there is no fleet {fleet}", fleet=fleet)
        if model not in self._sights[fleet].targets:
            return NotFound(f"the fleet {fleet} does not serve {model}", fleet=fleet, model=model)
        text = f"{model} has no label {label} in the fleet {fleet}"
        return NotFound(text, fleet=fleet, model=model, label=label)


def _answers(sight: Sight) -> Labels:
    early = {
        (model, label): version
        for rollout in sight.live
        for one in sight.ours
        for model in rollout.models
        if (target := sight.targets_of(one.name).get(model)) is not None
        for label, version in target.labels.items()
    }
    usual = {
        (model, label): version
        for model, target in sight.targets.items()
        for label, version in target.labels.items()
    }
    return {key: _encoded(sight, *key, version) for key, version in (early | usual).items()}


def _encoded(sight: Sight, model: str, label: str, version: int) -> bytes:
    answered = sight.answered(model, label)
    revision, since = _origin(sight, model, label)
    document: dict[str, Any] = {
        "model": model,
        "label": label,
        "version": version,
        "revision": revision,
        "servers_serving": answered.get(str(version), 0),
        "servers_total": len(sight.ours),
        "since": since.isoformat(),
        "moving": sight.moves(model, label),
        "servers": answered,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _origin(sight: Sight, model: str, label: str) -> tuple[int, datetime]:
    """The revision that is true of a label now, and when it was written or its rollout began."""
    rollout, head = sight.rollout_of(model), sight.heads.get(model)
    if rollout is not None and not has_moved(rollout, label):
        return rollout.from_revision, rollout.created_at
    if head is not None:
        return head.revision, head.created_at
    return sight.fleet.head, sight.fleet.created_at
