"""Promote and roll back: the use cases that move labels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from control_plane.domain.errors import FieldInvalid, NothingToRollBackTo
from control_plane.domain.promotion import (
    STABLE,
    NothingToChange,
    PromoteRequest,
    RollbackRequest,
    check_registered,
    present,
    promoted,
    rollback_target,
    rolled_back,
)
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Rollout
from control_plane.domain.strategy import Named
from control_plane.failpoints import failpoint
from control_plane.services import freezes
from control_plane.services.changes import (
    Call,
    Change,
    Ground,
    Keep,
    Outcome,
    Started,
    Unchanged,
    carry_out,
    check_match,
    history,
    on_ground,
    true_state,
)
from control_plane.services.commit import nothing_more
from control_plane.services.groups import together_with
from control_plane.services.guards import check_versions, doubt
from control_plane.services.strategies import chosen
from control_plane.services.transitions import state_at
from control_plane.store import catalog, holds, revisions, rollouts
from control_plane.store.database import Database, Session
from control_plane.store.holds import Hold


async def promote(
    db: Database,
    fleet: str,
    model: str,
    request: PromoteRequest,
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Start moving a label to a version on every server of the fleet.

    Raises:
        NotFound: no such fleet or model, or it is not deployed.
        VersionUnknown: the version is not registered.
        ArtifactMissing: it cannot be served, and `force` is not set.
        SignatureBreaking: callers of the label would notice, and `allow_breaking` is not set.
        FieldInvalid: there is no such strategy, or it cannot move this label.
        ExpectationFailed: the label is not where the request expected.
        RolloutInFlight: the deployment has a live rollout, and `supersede` is not set.
        Frozen: its strategy has a freeze that is open, and nobody breaks the glass.
        PreconditionFailed: the deployment changed since `if_match`.
    """
    return await promote_group(db, fleet, ((model, request),), call, commit)


async def promote_group(
    db: Database,
    fleet: str,
    requests: Sequence[tuple[str, PromoteRequest]],
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Promote several models as one revision and one rollout; errors as with `promote`."""
    if not requests:
        raise FieldInvalid("items", "at least one model")
    async with on_ground(db, fleet, call) as (s, ground):
        await check_match(s, ground, requests[0][0], call)
        change = await _promotion(s, ground, requests)
        await failpoint("promote.decided")
        outcome = await _kept(s, await freezes.carry_out(s, ground, change, call), call, commit)
        await failpoint("promote.before_commit")
    await failpoint("promote.committed")
    return outcome


async def _promotion(
    s: Session, ground: Ground, requests: Sequence[tuple[str, PromoteRequest]]
) -> Change:
    after: dict[str, Deployment] = {}
    doubts: list[str] = []
    defaults = [(await catalog.model(s, model)).default_strategy for model, _ in requests]
    strategy = await _strategy(s, [request for _, request in requests], defaults)
    for model, request in requests:
        current = after.get(model, ground.head.get(model))
        stable = await history(s, ground.fleet.name, model, STABLE)
        decided = promoted(current, model, request, stable, strategy.strategy.canaries)
        following = decided.deployment if isinstance(decided, NothingToChange) else decided
        if following is not None:
            kept = () if request.allow_breaking else (request.label,)
            doubts += await check_versions(s, current, following, force=request.force, kept=kept)
            after[model] = following
    labels = {request.label for _, request in requests}
    return Change(
        kind=Kind.PROMOTE,
        models=tuple(after),
        after=after,
        label=labels.pop() if len(labels) == 1 else "",
        strategy=strategy,
        supersede=any(request.supersede for _, request in requests),
        warnings=tuple(doubts),
    )


async def _strategy(
    s: Session, requests: Sequence[PromoteRequest], defaults: Iterable[str]
) -> Named:
    asked = {request.strategy for request in requests}
    if len(asked) > 1:
        raise FieldInvalid("strategy", "a group follows one strategy")
    return await chosen(s, asked.pop(), defaults, {request.label for request in requests})


async def _kept(s: Session, outcome: Outcome, call: Call, commit: Keep) -> Outcome:
    if not call.dry_run:
        await commit(s, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class _Way:
    """A rollback of one label that was thought through."""

    label: str
    base: Deployment
    target: int
    left: frozenset[int]  # where the label is or was: rolled back from
    warnings: tuple[str, ...]


async def rollback(
    db: Database,
    fleet: str,
    model: str,
    request: RollbackRequest,
    call: Call,
    commit: Keep = nothing_more,
) -> Outcome:
    """Start moving a label back on every server; nothing but a missing target stops it.

    What was promoted together goes back together, unless the request says `only`. A live rollout is
    superseded and its unverified changes end with it. Pressed again while a
    rollback of the label is live, the answer is that rollback.

    Raises:
        NotFound: no such fleet, model or revision, or the model is not deployed.
        VersionUnknown: `to_version` is not registered.
        FieldInvalid: more than one target, or the label was nowhere at that revision or time.
        NothingToRollBackTo: no target, and no earlier version is left.
    """
    async with on_ground(db, fleet, call) as (s, ground):
        await check_match(s, ground, model, call)
        asked = await _asked(s, ground, model, request)
        live = next(iter(ground.live_of((model,))), None)
        if live is not None and _answers(live, ground, model, (request.label, asked)):
            return await _kept(s, await _that(s, live, ground, call), call, commit)
        ways = {model: await _way(s, ground, model, request, (asked, live))}
        others, doubts = await _others(s, ground, model, request)
        ways |= others
        change = await _backwards(s, fleet, ways, doubts)
        await failpoint("rollback.decided")
        for name, way in ways.items():
            await _leave(s, (fleet, name, way.label), way.left, call)
        await failpoint("rollback.held")
        outcome = await _kept(s, await carry_out(s, ground, change, call), call, commit)
        await failpoint("rollback.before_commit")
    await failpoint("rollback.committed")
    return outcome


async def _backwards(
    s: Session, fleet: str, ways: Mapping[str, _Way], doubts: Iterable[str]
) -> Change:
    return Change(
        kind=Kind.ROLLBACK,
        models=tuple(ways),
        after={name: await _back(s, fleet, name, way) for name, way in ways.items()},
        label=_one_label(ways.values()),
        supersede=True,
        warnings=(*(text for way in ways.values() for text in way.warnings), *doubts),
    )


def _one_label(ways: Iterable[_Way]) -> str:
    labels = {way.label for way in ways}
    return labels.pop() if len(labels) == 1 else ""


async def _back(s: Session, fleet: str, model: str, way: _Way) -> Deployment:
    stable = await history(s, fleet, model, STABLE)
    return rolled_back(way.base, way.label, way.target, way.left, stable)


async def _others(
    s: Session, ground: Ground, model: str, request: RollbackRequest
) -> tuple[dict[str, _Way], list[str]]:
    """How the rest of a group goes back, and what of it cannot: that never stops a rollback."""
    found: dict[str, _Way] = {}
    doubts: list[str] = []
    group = () if request.only else await together_with(s, ground, model, request.label)
    for name, label in group:
        mine = replace(request, label=label, to_version=None)
        live = next(iter(ground.live_of((name,))), None)
        try:
            asked = await _asked(s, ground, name, mine)
            found[name] = await _way(s, ground, name, mine, (asked, live))
        except (NothingToRollBackTo, FieldInvalid) as error:
            doubts.append(f"{name} was promoted together with {model} and stays: {error.message}")
    return found, doubts


async def _leave(
    s: Session, label: tuple[str, str, str], versions: Iterable[int], call: Call
) -> None:
    """Remember what a fleet's model's label is rolled back from, and hold it."""
    for version in () if call.dry_run else sorted(versions):
        await rollouts.mark_rolled_back_from(s, *label, version, call.now)
        held = Hold(*label, version, since=call.now, actor=call.actor, reason=call.reason)
        await holds.place(s, [held])


def _answers(live: Rollout, ground: Ground, model: str, wanted: tuple[str, int | None]) -> bool:
    """Whether a live rollback is what is asked for."""
    label, target = wanted
    if live.kind is not Kind.ROLLBACK or live.label != label:
        return False
    return target is None or present(ground.head.get(model), model).labels.get(label) == target


async def _that(s: Session, live: Rollout, ground: Ground, call: Call) -> Outcome:
    if call.dry_run:
        return Unchanged(ground.head.get(live.models[0]))
    return Started(live, await revisions.revision(s, live.fleet, live.to_revision))


async def _asked(s: Session, ground: Ground, model: str, request: RollbackRequest) -> int | None:
    """Return the version that the request names; None if it names none."""
    await catalog.model(s, model)
    given = [request.to_version, request.to_revision, request.to_time]
    if sum(one is not None for one in given) > 1:
        raise FieldInvalid("to_version", "give one of to_version, to_revision and to_time")
    if request.to_version is not None:
        check_registered(model, (request.to_version,), await catalog.numbers(s, model))
        return request.to_version
    name, number = "to_revision", request.to_revision
    if request.to_time is not None:
        name = "to_time"
        number = await revisions.number_at(s, ground.fleet.name, request.to_time)
    elif number is not None:
        await revisions.revision(s, ground.fleet.name, number)
    if number is None:
        return None
    return _label_at(await state_at(s, ground.fleet.name, number), model, request.label, name)


def _label_at(state: Mapping[str, Deployment], model: str, label: str, field: str) -> int:
    version = state[model].labels.get(label) if model in state else None
    if version is None:
        raise FieldInvalid(field, f"{label} of {model} pointed at no version then")
    return version


async def _way(
    s: Session,
    ground: Ground,
    model: str,
    request: RollbackRequest,
    situation: tuple[int | None, Rollout | None],
) -> _Way:
    asked, live = situation
    head = ground.head.get(model)
    base = head
    if live is not None and live.kind is not Kind.ROLLBACK:
        base = (await true_state(s, live)).get(model) or head
    base = present(base, model)
    current = (head or base).labels.get(request.label)
    target = asked
    if target is None:
        verified = await history(s, ground.fleet.name, model, request.label)
        target = rollback_target(verified, current, await catalog.numbers(s, model))
    found = (await catalog.these_versions(s, model, (target,))).get(target)
    doubts = [doubt(found) if found else f"version {target} is not registered"]
    if target not in base.versions:
        doubts.append(f"version {target} is not loaded: this rollback is cold")
    return _Way(
        label=request.label,
        base=base,
        target=target,
        left=_left((head, base), request.label) - {target},
        warnings=tuple(text for text in doubts if text),
    )


def _left(deployments: Iterable[Deployment | None], label: str) -> frozenset[int]:
    return frozenset(one.labels[label] for one in deployments if one and label in one.labels)
