"""Deploy, retire, undeploy, restore: the use cases that say by hand what a fleet serves."""

from collections.abc import Collection
from dataclasses import dataclass

from control_plane.domain.errors import FieldInvalid, NotFound
from control_plane.domain.promotion import (
    STABLE,
    DeployRequest,
    NothingToChange,
    deployed,
    expanded,
    restored,
    retired,
    undeployed,
)
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase
from control_plane.domain.strategy import DIRECT, Named
from control_plane.services import freezes
from control_plane.services.changes import (
    Call,
    Change,
    Ground,
    Keep,
    Outcome,
    Unchanged,
    carry_out,
    check_match,
    history,
    on_ground,
    refuse_live,
)
from control_plane.services.commit import nothing_more
from control_plane.services.guards import check_versions
from control_plane.services.strategies import chosen
from control_plane.services.transitions import state_at
from control_plane.store import catalog, holds, revisions, rollouts
from control_plane.store.database import Database, Page, Session


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """How to go back to a whole state."""

    prune: bool = False  # also take away models that are newer than it
    force: bool = False  # also to what never succeeded, or cannot be served


async def put_deployment(
    db: Database,
    fleet: str,
    model: str,
    request: DeployRequest,
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Make a deployment what the request says, whole; where labels move, it is a promotion.

    Raises:
        NotFound: no such fleet or model.
        FieldInvalid: no version, or a label on a version that is not among them.
        VersionUnknown, ArtifactMissing, RolloutInFlight, PreconditionFailed: as with a promotion.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        known = await catalog.model(s, model)
        await check_match(s, ground, model, call)
        before = ground.head.get(model)
        after = _following(deployed(before, model, request))
        doubts: tuple[str, ...] = ()
        if after:
            kept = () if request.allow_breaking else request.labels
            doubts = await check_versions(s, before, after, force=request.force, kept=kept)
        change = Change(
            kind=Kind.DEPLOY,
            models=(model,),
            after={model: after},
            strategy=await _strategy(s, known.default_strategy, before, after),
            supersede=request.supersede,
            warnings=doubts,
        )
        outcome = await freezes.carry_out(s, ground, change, call)
        if not call.dry_run:
            await commit(s, outcome)
        return outcome


async def _strategy(
    s: Session, default: str, before: Deployment | None, after: Deployment | None
) -> Named:
    """What moves a label that callers have follows its model's default, whoever writes it."""
    old, new = before.labels if before else {}, after.labels if after else {}
    moving = {label for label, version in new.items() if old.get(label, version) != version}
    return await chosen(s, "", [default], moving) if moving else DIRECT


def _following(decided: Deployment | NothingToChange) -> Deployment | None:
    return decided.deployment if isinstance(decided, NothingToChange) else decided


async def _carry_out(
    s: Session, ground: Ground, change: Change, call: Call, commit: Keep
) -> Outcome:
    outcome = await carry_out(s, ground, change, call)
    if not call.dry_run:
        await commit(s, outcome)
    return outcome


async def retire(
    db: Database,
    fleet: str,
    model: str,
    versions: frozenset[int],
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Stop serving versions that no label points at.

    Raises:
        NotFound: no such fleet, or the model is not deployed.
        StillInUse: a label points at one of them.
        FieldInvalid: nothing would be left.
        RolloutInFlight: the deployment has a live rollout.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        await check_match(s, ground, model, call)
        refuse_live(ground, (model,))
        after = _following(retired(ground.head.get(model), model, versions))
        change = Change(Kind.RETIRE, (model,), {model: after})
        return await _carry_out(s, ground, change, call, commit)


async def undeploy(
    db: Database, fleet: str, model: str, call: Call, commit: Keep = nothing_more
) -> Outcome:
    """Stop serving a model: its labels first, then its name.

    Raises:
        NotFound: no such fleet, or the model is not deployed.
        RolloutInFlight: the deployment has a live rollout.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        await check_match(s, ground, model, call)
        refuse_live(ground, (model,))
        change = Change(Kind.UNDEPLOY, (model,), undeployed(ground.head.get(model), model))
        return await _carry_out(s, ground, change, call, commit)


async def restore(
    db: Database,
    fleet: str,
    number: int,
    request: RestoreRequest,
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Copy the fleet's whole state from an older revision; models newer than it may stay.

    Raises:
        NotFound: no such fleet or revision.
        RolloutInFlight: a model that would change has a live rollout.
        FieldInvalid: the state never came true on servers, and `force` is not set.
        VersionUnknown, ArtifactMissing: a version is gone, or cannot be served any more.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        await revisions.revision(s, fleet, number)
        past = await state_at(s, fleet, number)
        changes = restored(ground.head, past, prune=request.prune)
        refuse_live(ground, changes)
        if not request.force:
            await _check_proven(s, fleet, number, changes)
        doubts: list[str] = []
        for model, after in changes.items():
            if after is not None:
                before = ground.head.get(model)
                doubts += await check_versions(s, before, after, force=request.force)
        change = Change(Kind.RESTORE, tuple(changes), changes, warnings=tuple(doubts))
        return await _carry_out(s, ground, change, call, commit)


async def _check_proven(s: Session, fleet: str, number: int, models: Collection[str]) -> None:
    past = await revisions.state_at(s, fleet, number)
    for model in sorted(set(models) & set(past)):
        made = past[model].revision
        if not await _succeeded(s, fleet, model, made):
            text = f"revision {made}, which {model} is from, never succeeded"
            raise FieldInvalid("force", text, hint="force restores it all the same")


async def _succeeded(s: Session, fleet: str, model: str, number: int) -> bool:
    if (await revisions.revision(s, fleet, number)).kind is Kind.REVERT:
        return True
    page = Page()
    while True:
        found = await rollouts.rollouts(s, page, fleet=fleet, model=model)
        for one in found.items:
            if one.to_revision == number:
                return one.phase is Phase.SUCCEEDED
        if not found.next:
            return False
        page = Page(after=found.next)


async def follow_policy(
    db: Database, fleet: str, model: str, call: Call, commit: Keep = nothing_more
) -> Outcome:
    """Deploy what the model's version policy takes; a live rollout is left alone.

    Raises:
        NotFound: no such fleet, or the model is not deployed.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        if model not in ground.head:
            raise NotFound(f"{model} is not deployed on {fleet}")
        of_stable = [one for one in await holds.of_model(s, fleet, model) if one.label == STABLE]
        held = {one.version for one in of_stable if not one.resumed_at}
        versions = [one for one in await catalog.all_versions(s, model) if not one.fault]
        known = [one.number for one in versions if one.number not in held]
        resumed = [one.version for one in of_stable if one.resumed_at]
        stable = await history(s, fleet, model, STABLE)
        after = _following(expanded(ground.head[model], known, stable, resumed))
        if ground.live_of((model,)):
            return Unchanged(ground.head[model])
        change = Change(Kind.POLICY, (model,), {model: after})
        return await _carry_out(s, ground, change, call, commit)
