"""Advances a rollout by what was found on its servers; nothing here talks to them."""

from datetime import datetime

from control_plane.domain.advance import LOOP_ACTOR, Facts, advance
from control_plane.domain.errors import NotFound
from control_plane.domain.rollout import Rollout
from control_plane.failpoints import failpoint
from control_plane.services.transitions import Writer, record
from control_plane.store import rollouts
from control_plane.store.database import Database


async def advance_rollout(
    db: Database, fleet: str, rollout_id: str, facts: Facts, *, epoch: int, now: datetime
) -> Rollout:
    """Take a rollout one step further at most, and return how it stands now.

    Nothing is written when nothing changes.

    Raises:
        LeaseLost: another process reconciles the fleet now.
        NotFound: the fleet has no such rollout.
        PreconditionFailed: somebody steered it in the same moment; look again.
    """
    await failpoint("advance.begun")
    async with db.begin() as s:
        rollout = await rollouts.rollout(s, rollout_id)
        if rollout.fleet != fleet:
            raise NotFound(f"{fleet} has no rollout {rollout_id}")
        transition = advance(rollout, facts, now)
        if transition.rollout == rollout:
            return rollout
        saved = await record(s, rollout, transition, Writer(LOOP_ACTOR, now, epoch=epoch))
        await failpoint("advance.before_commit")
    await failpoint("advance.committed")
    return saved
