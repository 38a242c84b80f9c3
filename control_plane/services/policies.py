"""Version policies follow a scan: what they take is deployed by the actor `policy`."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from control_plane.domain.revision import Specific
from control_plane.services import deployments
from control_plane.services.changes import Call, Started
from control_plane.store import fleets, revisions
from control_plane.store.database import Database

ACTOR: Final = "policy"


async def follow(
    db: Database, model: str, now: datetime, new_id: Callable[[], str]
) -> tuple[str, ...]:
    """Deploy what the policies of every fleet take of a model; returns the fleets that change."""
    async with db.read() as s:
        heads = {
            one.name: await revisions.head_of(s, one.name, model)
            for one in await fleets.all_fleets(s)
        }
    changed = []
    for fleet, head in heads.items():
        if head is None or isinstance(head.deployment.policy, Specific):
            continue
        call = Call(ACTOR, now, new_id(), f"a scan of {model}", automatic=True)
        if isinstance(await deployments.follow_policy(db, fleet, model, call), Started):
            changed.append(fleet)
    return tuple(changed)
