"""The past of a fleet: its revisions, and what it should have served at a time."""

from datetime import datetime
from typing import Any

from control_plane.domain.revision import Revision
from control_plane.services.rollout_view import desired_json
from control_plane.store import fleets
from control_plane.store import revisions as store
from control_plane.store.database import Database, Page, Paged


async def revisions(db: Database, fleet: str, page: Page, model: str = "") -> Paged[Revision]:
    """Return a page of revisions, the newest first; those of one model if it is named.

    Raises:
        NotFound: no such fleet.
    """
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        return await store.revisions(s, fleet, page, model)


async def revision(db: Database, fleet: str, number: int) -> Revision:
    """Return a revision."""
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        return await store.revision(s, fleet, number)


async def state(db: Database, fleet: str, at: datetime | None) -> dict[str, Any]:
    """Return what a fleet should have served at a time; None is now.

    Raises:
        NotFound: no such fleet.
    """
    async with db.read() as s:
        number = (await fleets.fleet(s, fleet)).head
        if at is not None:
            number = await store.number_at(s, fleet, at)
        found = await store.state_at(s, fleet, number)
    return {
        "fleet": fleet,
        "revision": number,
        "at": at.isoformat() if at is not None else None,
        "deployments": {
            model: desired_json(one.deployment) | {"revision": one.revision}
            for model, one in sorted(found.items())
        },
    }
