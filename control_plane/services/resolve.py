"""Where labels point, answered from memory: the answer is ready as bytes before anybody asks.

The snapshot follows the journal, so a change shows at most a moment after it was written. How often
it is made anew depends on what that costs: never more than a tenth of the time.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from control_plane.domain.errors import NotFound, Transient
from control_plane.services.feed import Feed
from control_plane.services.sight import Sight, look
from control_plane.store import fleets
from control_plane.store.database import Database

RESYNC_S: Final = 5.0
_SHARE: Final = 10
_LONGEST_PAUSE_S: Final = 0.9


class Resolved:
    """The snapshot, and what keeps it fresh."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._answers: Mapping[tuple[str, str, str], bytes] = {}
        self._fleets: frozenset[str] = frozenset()
        self._models: frozenset[tuple[str, str]] = frozenset()

    def answer(self, fleet: str, model: str, label: str) -> bytes:
        """Return the whole JSON answer.

        Raises:
            NotFound: no such fleet; the model is not deployed there; it has no such label.
        """
        found = self._answers.get((fleet, model, label))
        if found is None:
            raise self._missing(fleet, model, label)
        return found

    async def refresh(self) -> None:
        """Make the snapshot anew."""
        answers: dict[tuple[str, str, str], bytes] = {}
        async with self._db.read() as s:
            names = [one.name for one in await fleets.all_fleets(s)]
        models: set[tuple[str, str]] = set()
        for name in names:
            with suppress(NotFound):  # deleted a moment ago
                async with self._db.read() as s:
                    sight = await look(s, name)
                models |= {(name, model) for model in sight.targets}
                answers |= _answers(sight)
        self._answers, self._fleets, self._models = answers, frozenset(names), frozenset(models)

    async def run(self, feed: Feed) -> None:
        """Keep the snapshot fresh until the feed closes."""
        while not feed.closed:
            seen, started = feed.seq, time.monotonic()
            with suppress(Transient):
                await self.refresh()
            cost_s = time.monotonic() - started
            await asyncio.sleep(min(_SHARE * cost_s, _LONGEST_PAUSE_S))
            await feed.after(seen, RESYNC_S, eager=False)

    def _missing(self, fleet: str, model: str, label: str) -> NotFound:
        if fleet not in self._fleets:
            return NotFound(f"there is no fleet {fleet}", fleet=fleet)
        if (fleet, model) not in self._models:
            return NotFound(f"the fleet {fleet} does not serve {model}", fleet=fleet, model=model)
        text = f"{model} has no label {label} in the fleet {fleet}"
        return NotFound(text, fleet=fleet, model=model, label=label)


def _answers(sight: Sight) -> dict[tuple[str, str, str], bytes]:
    fleet = sight.fleet.name
    return {
        (fleet, model, label): _encoded(sight, model, label, version)
        for model, target in sight.targets.items()
        for label, version in target.labels.items()
    }


def _encoded(sight: Sight, model: str, label: str, version: int) -> bytes:
    ours = sight.ours
    revision, since = _origin(sight, model)
    document: dict[str, Any] = {
        "model": model,
        "label": label,
        "version": version,
        "revision": revision,
        "servers_serving": sum(sight.answers(one.name, model, label, version) for one in ours),
        "servers_total": len(ours),
        "since": since.isoformat(),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _origin(sight: Sight, model: str) -> tuple[int, datetime]:
    """The revision that is true now, and when it was written or its rollout began."""
    rollout, head = sight.rollout_of(model), sight.heads.get(model)
    if rollout is not None and not rollout.moved:
        return rollout.from_revision, rollout.created_at
    if head is not None:
        return head.revision, head.created_at
    return sight.fleet.head, sight.fleet.created_at
