"""The effect of `on_drift: adopt`: what somebody else had a server serve becomes desired."""

from dataclasses import replace

import structlog

from control_plane.domain.adoption import against, differences
from control_plane.domain.drift import may_adopt
from control_plane.domain.errors import Rejected
from control_plane.domain.steps import State as Deployments
from control_plane.reconcile.assignments import Desired
from control_plane.reconcile.world import Key, Tracked, World
from control_plane.services import adoption

log = structlog.get_logger()


async def take_up(world: World, it: Tracked, desired: Desired) -> bool:
    """Take up what runs on a server, if that is due; say whether anything of it is known anew.

    What speaks against it is kept with the server, for its sentence.
    """
    epoch, now = world.leadership.epoch(it.server.fleet), world.now()
    if it.assignment is None or epoch is None or not may_adopt(it.assignment, it.observed, now):
        return False
    head = {model: one for model, (one, _) in desired.heads.items()}
    changes = differences(head, it.observed)
    reason = against(head, changes, it.observed)
    if changes and not reason:
        reason = await _write(world, it, desired, changes, epoch)
    same = reason == it.observed.not_adopted
    adopted_at = it.observed.adopted_at if reason else now
    it.observed = replace(it.observed, not_adopted=reason, adopted_at=adopted_at)
    return not (reason and same)


async def _write(
    world: World, it: Tracked, desired: Desired, changes: Deployments, epoch: int
) -> str:
    """Make it desired; returns what is against it."""
    fleet, server = it.server.fleet, it.server.name
    head, now = desired.fleet.head, world.clock()
    try:
        made = await adoption.take_up(
            world.db, (fleet, server), changes, head=head, epoch=epoch, now=now
        )
    except Rejected as error:
        return error.message
    finally:
        world.desired.doubt(fleet)
    log.info("adopted", fleet=fleet, server=server, revision=made.number, models=sorted(changes))
    world.nudge(Key("fleet", fleet))
    world.written()
    return ""
