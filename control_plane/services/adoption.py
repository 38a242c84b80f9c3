"""Takes up what somebody else had a server serve: a revision by the loop, without a rollout.

The server runs it already; the others of its fleet are brought there as to any head.
"""

from datetime import datetime

from control_plane.domain.advance import LOOP_ACTOR
from control_plane.domain.errors import RevisionConflict
from control_plane.domain.promotion import check_registered
from control_plane.domain.revision import Deployment, Kind, Revision
from control_plane.domain.steps import State
from control_plane.services import holds
from control_plane.services.changes import Call, on_ground, refuse_live
from control_plane.services.transitions import Writer, append, revision_event
from control_plane.store import catalog, journal, leases, rollouts
from control_plane.store.database import Database, Session


async def take_up(
    db: Database, key: tuple[str, str], changes: State, *, head: int, epoch: int, now: datetime
) -> Revision:
    """Write what is seen on a server as the fleet's desired state; `key` is its fleet and name.

    Raises:
        LeaseLost: another process reconciles the fleet.
        RevisionConflict: the fleet's head is not `head` any more.
        RolloutInFlight: one of the deployments is on its way elsewhere.
        NotFound: a model is not registered.
        VersionUnknown: a version is not registered.
        Held: a label is on what was rolled back from.
    """
    fleet, server = key
    by = Writer(LOOP_ACTOR, now, f"seen on {server}", epoch, automatic=True)
    call = Call(by.actor, now, new_id="", reason=by.reason, automatic=True)
    async with on_ground(db, fleet, call) as (s, here):
        await leases.check(s, fleet, epoch)
        if here.fleet.head != head:
            raise RevisionConflict(fleet=fleet, expected=head, actual=here.fleet.head)
        refuse_live(here, changes)
        for model, target in changes.items():
            await check_known(s, model, target)
        await holds.respect(s, fleet, (here.head, changes), by, dry_run=False)
        made = await append(s, fleet, Kind.ADOPT, changes, by)
        await verify(s, made, now)
        await journal.append(s, revision_event(made, ""))
    return made


async def check_known(s: Session, model: str, target: Deployment | None) -> None:
    """Let pass what is registered.

    Raises:
        NotFound: the model is not.
        VersionUnknown: a version is not.
    """
    if target is None:
        return
    await catalog.model(s, model)
    known = {one.number for one in await catalog.all_versions(s, model)}
    check_registered(model, target.versions, known)


async def verify(s: Session, made: Revision, now: datetime) -> None:
    """Record where labels were seen to answer: a later rollback comes back to there."""
    for model, target in made.changes.items():
        for label, version in target.labels.items() if target else ():
            seen = (label, version, made.number, now)
            await rollouts.verify_label(s, made.fleet, model, *seen)
