"""Hashes the files of registered versions in the background: no digest, no promotion."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from control_plane.domain.catalog import Version
from control_plane.domain.errors import ArtifactMissing, NotFound
from control_plane.domain.events import Event, EventKind
from control_plane.services import artifacts
from control_plane.store import catalog, fleets, journal
from control_plane.store.database import Database

ACTOR: Final = "digests"
_BATCH: Final = 100


async def hash_pending(db: Database, clock: Callable[[], datetime]) -> int:
    """Hash every version whose digest is pending; returns how many are known now.

    A version that cannot be read now is left for the next time.
    """
    async with db.read() as s:
        pending = await catalog.pending_digests(s, _BATCH)
    return sum([await _hash(db, one, clock) for one in pending])


async def _hash(db: Database, version: Version, clock: Callable[[], datetime]) -> bool:
    async with db.read() as s:
        model = await catalog.model(s, version.model)
        where = artifacts.places(await fleets.all_fleets(s), model.base_path)
    try:
        digest = await artifacts.digest(where, version.number)
        await _save(db, version, digest, clock())
    except (ArtifactMissing, NotFound):
        return False
    return True


async def _save(db: Database, version: Version, digest: str, now: datetime) -> None:
    async with db.begin() as s:
        fresh = await catalog.version(s, version.model, version.number)
        if fresh.digest == digest:  # another replica was faster
            return
        await catalog.save_version(s, replace(fresh, digest=digest), None)
        data = {"version": version.number, "digest": digest}
        event = Event(EventKind.VERSION_DIGESTED, now, ACTOR, model=version.model, data=data)
        await journal.append(s, event)
