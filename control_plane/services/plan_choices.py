"""What there is to choose from when a label is to be moved: versions, labels, strategies."""

from typing import Any

from control_plane.domain.catalog import Version
from control_plane.domain.promotion import STABLE
from control_plane.domain.revision import Deployment
from control_plane.domain.strategy import DIRECT
from control_plane.services import strategies
from control_plane.store import catalog, fleets, revisions, rollouts
from control_plane.store.database import Database

Json = dict[str, Any]


async def plan_choices(db: Database, fleet: str, model: str, label: str) -> Json:
    """Return the versions, newest first, the labels and the strategies; and what is likely meant.

    `suggested` is the version that a promotion of the label most likely goes to; null: none.

    Raises:
        NotFound: no such fleet or model.
    """
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        known = await catalog.model(s, model)
        found = (await revisions.head(s, fleet)).get(model)
        versions = sorted(await catalog.all_versions(s, model), key=lambda one: -one.number)
        verified = await rollouts.verified(s, fleet, model, label)
    head = found.deployment if found else None
    since = {one.version: one.at.isoformat() for one in reversed(verified)}
    names = [one.name for one in await strategies.listed(db)]
    return {
        "versions": [_version(one, head, since) for one in versions],
        "labels": sorted({STABLE, *(head.labels if head else ())}),
        "at": head.labels.get(label) if head else None,
        "strategies": names,
        "default_strategy": known.default_strategy or DIRECT.name,
        "suggested": _suggested(versions, head, label),
    }


def _version(one: Version, head: Deployment | None, since: dict[int, str]) -> Json:
    return {
        "version": one.number,
        "loaded": head is not None and one.number in head.versions,
        "labels": sorted(n for n, v in head.labels.items() if v == one.number) if head else [],
        "verified_at": since.get(one.number),
        "fault": one.fault,
    }


def _suggested(versions: list[Version], head: Deployment | None, label: str) -> int | None:
    """The newest version that can be served and the label is not at."""
    at = head.labels.get(label) if head else None
    numbers = [one.number for one in versions if not one.fault and one.number != at]
    return numbers[0] if numbers else None
