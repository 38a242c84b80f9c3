"""The plans that rollouts began with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from control_plane.store import rows
from control_plane.store.database import Session
from control_plane.store.plan_tables import PlanRow
from control_plane.store.tables import LiveRolloutRow


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """The plan of a rollout, and when the servers stood as it says."""

    rollout: str
    made_at: datetime
    document: Mapping[str, Any]  # JSON


async def keep(s: Session, plan: KeptPlan) -> None:
    """Store a plan, unless the rollout has one already."""
    await rows.insert_new(s, PlanRow, **rows.values_of(plan))


async def plan_of(s: Session, rollout: str) -> KeptPlan | None:
    """Return the plan that a rollout began with; None if none was kept."""
    found = await rows.maybe_one(s, PlanRow, rollout=rollout)
    return None if found is None else KeptPlan(**found)


async def live_etas(s: Session) -> dict[str, float]:
    """Return how many seconds live rollouts take by their plans; none is told without one."""
    takes = PlanRow.document["eta_s"].as_float()
    live = PlanRow.rollout.in_(select(LiveRolloutRow.rollout))
    told = await rows.all_of(s, select(PlanRow.rollout, takes.label("takes")).where(live))
    return {one["rollout"]: one["takes"] for one in told if one["takes"] is not None}


async def forget(s: Session, *, before: datetime, most: int) -> int:
    """Delete up to `most` plans that were made before a time, and are over; return how many."""
    live = select(LiveRolloutRow.rollout)
    return await rows.delete_some(
        s, PlanRow, most, PlanRow.made_at < before, PlanRow.rollout.not_in(live)
    )
