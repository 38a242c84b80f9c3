"""Holds in the database: versions that were rolled back from, until somebody resumes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update

from control_plane.store import deeds, rows
from control_plane.store.database import Session
from control_plane.store.hold_tables import HoldRow

_OF_MODEL = rows.by_key(HoldRow, ("fleet", "model")).order_by(
    HoldRow.since.desc(), HoldRow.label, HoldRow.version
)


@dataclass(frozen=True, slots=True)
class Hold:
    """That nothing but a person moves a label to a version; over when it was resumed."""

    fleet: str
    model: str
    label: str
    version: int
    since: datetime
    actor: str
    reason: str = ""
    resumed_at: datetime | None = None
    resumed_by: str = ""


async def place(s: Session, holds: Iterable[Hold]) -> None:
    """Hold versions, again if they were resumed before."""
    for one in holds:
        await rows.upsert(s, HoldRow, **rows.values_of(one))


async def of_model(s: Session, fleet: str, model: str) -> tuple[Hold, ...]:
    """Return all holds of a deployment, those that were resumed too, the newest first."""
    found = await s.execute(_OF_MODEL, {"fleet": fleet, "model": model})
    return tuple(Hold(**one) for one in found.mappings())


async def resume(s: Session, hold: Hold, at: datetime, by: str) -> None:
    """Let a version be promoted by anybody again."""
    table = rows.table_of(HoldRow)
    key = (
        table.c.fleet == hold.fleet,
        table.c.model == hold.model,
        table.c.label == hold.label,
        table.c.version == hold.version,
    )
    await s.execute(update(table).where(*key).values(resumed_at=at, resumed_by=by))
    which = {one: getattr(hold, one) for one in ("fleet", "model", "label", "version")}
    deeds.saw(s, "holds", which, {"resumed_at": hold.resumed_at, "resumed_by": hold.resumed_by})
    deeds.changed(s, "holds", which, {"resumed_at": at, "resumed_by": by})
