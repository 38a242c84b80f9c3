"""The plans that rollouts began with."""

from dataclasses import replace
from datetime import UTC, datetime

from control_plane.domain.rollout import Phase
from control_plane.store import plans, rollouts
from control_plane.store.database import Database
from control_plane.store.plans import KeptPlan
from tests.store.builders import a_rollout

NOW = datetime.now(UTC)


async def test_how_long_they_take_is_told_of_live_rollouts_that_have_a_plan(db: Database) -> None:
    async with db.begin() as s:
        for name in ("live", "over", "unplanned"):
            await rollouts.add(s, a_rollout(name, (name,)))
        over = a_rollout("over", ("over",))
        await rollouts.save(s, over, replace(over, phase=Phase.SUCCEEDED, ended_at=NOW))
        await plans.keep(s, KeptPlan("live", NOW, {"eta_s": 61.5, "steps": []}))
        await plans.keep(s, KeptPlan("over", NOW, {"eta_s": 2}))
    async with db.read() as s:
        assert await plans.live_etas(s) == {"live": 61.5}
