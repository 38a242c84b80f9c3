"""The past of a fleet: its revisions, what it should have served at a time, and what it did."""

from datetime import datetime
from typing import Any

from control_plane.domain.answering import TOLD_BY, Interval, intervals
from control_plane.domain.revision import Revision
from control_plane.services.rollout_view import desired_json
from control_plane.store import catalog, fleets, journal
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


async def state(
    db: Database, fleet: str, at: datetime | None, revision: int | None = None
) -> dict[str, Any]:
    """Return what a fleet should have served at a time, or since a revision; None is now.

    Raises:
        NotFound: no such fleet or revision.
    """
    async with db.read() as s:
        number = (await fleets.fleet(s, fleet)).head
        if revision is not None:
            number = (await store.revision(s, fleet, revision)).number if revision else 0
        elif at is not None:
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


async def answered(
    db: Database, where: tuple[str, str, str], at: datetime | None
) -> list[dict[str, Any]]:
    """Return which versions were seen to answer a fleet's model's label, the newest first.

    With a time, only what answered then.

    Raises:
        NotFound: no such fleet or model.
    """
    fleet, model, label = where
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        await catalog.model(s, model)
        found = intervals(await journal.of_fleet(s, fleet, TOLD_BY, (model,)), model, label)
    if at is not None:
        found = tuple(now for one in found if (now := one.at(at)) is not None)
    return [_interval_json(one) for one in found]


def _interval_json(one: Interval) -> dict[str, Any]:
    mover = one.mover
    return {
        "version": one.version,
        "since": one.since.isoformat(),
        "until": one.until.isoformat() if one.until else None,
        "servers": sorted({span.server for span in one.spans}),
        "spans": [
            {
                "server": span.server,
                "since": span.since.isoformat(),
                "until": span.until.isoformat() if span.until else None,
            }
            for span in one.spans
        ],
        "revision": mover.revision,
        "kind": mover.kind,
        "actor": mover.actor,
        "reason": mover.reason,
        "rollout": mover.rollout,
    }
