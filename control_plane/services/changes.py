"""Carries out a change of desired state: one transaction with revision, rollout and events.

A use case takes its `Ground` (the fleet locked), lets `domain.promotion` decide, and hands the
change to `carry_out`. `from_revision` is where the servers go back to if it does not work out: the
last revision that was true of every deployment concerned, so a superseding rollout inherits it.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from control_plane.domain.advance import alone, superseded
from control_plane.domain.errors import PreconditionFailed, RolloutInFlight
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Fleet, Server, counted
from control_plane.domain.moments import due
from control_plane.domain.promotion import History, Verification, reverted
from control_plane.domain.revision import Deployment, Kind, Revision
from control_plane.domain.rollout import Phase, Rollout, Step
from control_plane.domain.room import Load, Versions, with_room
from control_plane.domain.steps import State, covered, started
from control_plane.domain.strategy import DIRECT, Named, itinerary
from control_plane.failpoints import failpoint
from control_plane.services import holds
from control_plane.services.commit import Commit
from control_plane.services.plans import Asked, Forecast, forecast
from control_plane.services.room import fit
from control_plane.services.transitions import (
    Writer,
    append,
    only,
    record,
    revision_event,
    state_at,
)
from control_plane.services.unlabelled import Callers, callers_of, callers_told
from control_plane.store import fleets, hooks, journal, plans, revisions, rollouts
from control_plane.store.database import Database, Session
from control_plane.store.plans import KeptPlan

LOAD_ESTIMATE_S: Final = 60.0
DEADLINE_S: Final = 3 * LOAD_ESTIMATE_S + 600.0
Document: TypeAlias = Mapping[str, Any]  # JSON


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks for a change, when and why."""

    actor: str
    now: datetime
    new_id: str  # of the rollout, should one be started
    reason: str = ""
    dry_run: bool = False
    if_match: int | None = None  # the revision that must have changed the deployment last
    automatic: bool = False  # a policy or a service asks, not a person
    break_glass: str = ""  # why it goes on in spite of freezes
    agreed: Callable[["Planned"], Document] | None = None  # what to keep; raises if it is another

    @property
    def writer(self) -> Writer:
        """Return who writes."""
        return Writer(self.actor, self.now, self.reason, automatic=self.automatic)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change would do: nothing was written."""

    fleet: str
    kind: Kind
    from_revision: int
    to_revision: int
    before: State
    after: State
    strategy: Named
    steps: tuple[Step, ...]
    servers: tuple[str, ...]
    supersedes: tuple[str, ...]  # live rollouts that would end
    unlabelled: Callers
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The change is written, and its rollout is live, or over where there are no servers."""

    rollout: Rollout
    revision: Revision
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It is so already; nothing was written."""

    deployment: Deployment | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """The answer to a dry run."""

    plan: Plan
    forecast: Forecast


Outcome: TypeAlias = Started | Unchanged | Planned
Keep: TypeAlias = Commit[Outcome]


@dataclass(frozen=True, slots=True)
class Ground:
    """What a change starts from; read under the fleet's lock unless it is a dry run."""

    fleet: Fleet
    head: Mapping[str, Deployment]
    changed: Mapping[str, int]  # the revision that changed each of them last
    live: tuple[Rollout, ...]
    servers: tuple[str, ...]  # those that were taken over and count
    memory: Mapping[str, int]  # bytes, by server: of those of which it is known

    def live_of(self, models: Iterable[str]) -> tuple[Rollout, ...]:
        """Return the live rollouts that one of the models takes part in."""
        names = set(models)
        return tuple(one for one in self.live if names & set(one.models))


@dataclass(frozen=True, slots=True)
class Change:
    """A decided change; `models` are those that were asked about, changed or not."""

    kind: Kind
    models: tuple[str, ...]
    after: State
    label: str = ""
    strategy: Named = DIRECT
    supersede: bool = False
    warnings: tuple[str, ...] = ()
    first: Versions = field(default_factory=dict)  # goes before anything is loaded


@dataclass(frozen=True, slots=True)
class _Base:
    """Where the deployments concerned go back to."""

    number: int
    state: State
    changed: Mapping[str, int]  # the revision that touched each last; 0: none
    exact: bool  # whether that revision says so of each; else a revert must be written first


@asynccontextmanager
async def on_ground(db: Database, fleet: str, call: Call) -> AsyncIterator[tuple[Session, Ground]]:
    """Open the transaction of one use case; a dry run only reads."""
    async with db.read() if call.dry_run else db.begin() as s:
        here = await (fleets.fleet if call.dry_run else fleets.lock_fleet)(s, fleet)
        found = await revisions.head(s, fleet)
        servers = _counted(await fleets.servers(s, fleet))
        yield (
            s,
            Ground(
                fleet=here,
                head={model: one.deployment for model, one in found.items()},
                changed={model: one.revision for model, one in found.items()},
                live=await rollouts.live(s, fleet),
                servers=tuple(one.name for one in servers),
                memory={one.name: one.memory_bytes for one in servers if one.memory_bytes},
            ),
        )


def _counted(servers: Iterable[Server]) -> tuple[Server, ...]:
    return counted(one for one in servers if one.taken_over)


async def check_match(s: Session, ground: Ground, model: str, call: Call) -> None:
    """Let pass what was read before it changed.

    Raises:
        PreconditionFailed: another revision changed the deployment since.
    """
    if call.if_match is None:
        return
    actual = await _last_changed(s, ground, model)
    if actual != call.if_match:
        text = f"{model} was last changed by revision {actual}, not by {call.if_match}"
        raise PreconditionFailed(text, expected=call.if_match, actual=actual)


async def _last_changed(s: Session, ground: Ground, model: str) -> int:
    """Return the revision that touched a model last, its removal included; 0: none."""
    if model in ground.changed:
        return ground.changed[model]
    return await revisions.last_changed(s, ground.fleet.name, model)


async def history(s: Session, fleet: str, model: str, label: str) -> History:
    """Return where a label was verified, newest first."""
    return tuple(
        Verification(one.version, one.at, one.rolled_back_at)
        for one in await rollouts.verified(s, fleet, model, label)
    )


def refuse_live(ground: Ground, models: Iterable[str]) -> None:
    """Let pass deployments that no rollout is moving.

    Raises:
        RolloutInFlight: names the rollout.
    """
    for one in ground.live_of(models):
        text = f"rollout {one.id} ({one.kind} of {', '.join(one.models)}) is {one.phase}"
        hint = "wait for it, supersede it, abort it or roll back"
        raise RolloutInFlight(text, hint=hint, rollout=one.id, models=list(one.models))


async def carry_out(s: Session, ground: Ground, change: Change, call: Call) -> Outcome:
    """Write a change and start its rollout, or say what that would be.

    Raises:
        RolloutInFlight: a deployment concerned has a live rollout, and `supersede` is not set.
        Held: it goes to what was rolled back from, and no person asks.
    """
    if not change.supersede:
        refuse_live(ground, change.models)
    if change.kind is not Kind.ROLLBACK:
        to = (ground.head, change.after)
        await holds.respect(s, ground.fleet.name, to, call.writer, dry_run=call.dry_run)
    moving = {model for model, one in change.after.items() if ground.head.get(model) != one}
    if not moving:
        return Unchanged(ground.head.get(change.models[0]) if change.models else None)
    live = ground.live_of(change.models)
    concerned = moving.union(*(one.models for one in live))
    after = {model: one for model, one in change.after.items() if model in concerned}
    base = await _base(s, ground, live, after)
    load = Load(ground.head, base.state, {**base.state, **after})
    room, told = await fit(s, ground.fleet.name, load, ground.memory, change.kind)
    warnings = (*change.warnings, *told)
    change = replace(change, after=room.after, first=room.first, warnings=warnings)
    plan = _plan(ground, change, base, live)
    if not (call.dry_run or call.agreed):
        return await _start(s, plan, change.label, base, live, call)
    planned = await _planned(s, ground, plan, change.label, call)
    if not call.agreed or call.dry_run:
        return planned
    document = call.agreed(planned)
    begun = await _start(s, plan, change.label, base, live, call)
    await plans.keep(s, KeptPlan(call.new_id, call.now, document))
    return begun


async def _planned(s: Session, ground: Ground, plan: Plan, label: str, call: Call) -> Planned:
    others = tuple(one for one in ground.live if one.id not in plan.supersedes)
    journey = (_begun(_rollout(plan, label, call), plan, call), plan.before, plan.after)
    asked = Asked(ground.fleet, ground.head, journey, others, plan.servers)
    return Planned(plan, await forecast(s, asked))


async def true_state(s: Session, rollout: Rollout) -> State:
    """Return what its deployments were before a live rollout."""
    past = await state_at(s, rollout.fleet, rollout.from_revision)
    return reverted(past, rollout.models)


async def _base(
    s: Session, ground: Ground, live: Collection[Rollout], after: Collection[str]
) -> _Base:
    state: dict[str, Deployment | None] = {}
    models = {*after, *(model for one in live for model in one.models)}
    changed = {model: await _last_changed(s, ground, model) for model in models}
    floors = [0]
    for one in live:
        state |= await true_state(s, one)
        floors.append(one.from_revision)
    for model in set(after) - set(state):
        state[model] = ground.head.get(model)
        floors.append(changed[model])
    number, exact = max(floors), True
    if live:
        there = await state_at(s, ground.fleet.name, number)
        exact = reverted(there, state) == state
    return _Base(number, state, changed, exact)


def _plan(ground: Ground, change: Change, base: _Base, live: Iterable[Rollout]) -> Plan:
    head = ground.fleet.head
    callers = callers_of(base.state, change.after)
    steps = itinerary(change.strategy.strategy, change.kind, base.state, change.after)
    return Plan(
        fleet=ground.fleet.name,
        kind=change.kind,
        from_revision=base.number if base.exact else head + 1,
        to_revision=head + 1 if base.exact else head + 2,
        before=base.state,
        after=change.after,
        strategy=change.strategy,
        steps=with_room(steps, change.first),
        servers=ground.servers,
        supersedes=tuple(one.id for one in live),
        unlabelled=callers,
        warnings=(*change.warnings, *callers_told(callers)),
    )


async def _start(
    s: Session, plan: Plan, label: str, base: _Base, live: Iterable[Rollout], call: Call
) -> Started:
    events: list[Event] = []
    for one in live:
        over = superseded(one, call.new_id, call.now)
        await rollouts.save(s, one, over.rollout)
        events += [replace(e, actor=call.actor, reason=call.reason) for e in over.events]
        await failpoint("change.superseded")
    if not base.exact:
        names = [model for one in live for model in one.models]
        back = reverted(base.state, names)
        made = await append(s, plan.fleet, Kind.REVERT, back, call.writer)
        events.append(revision_event(made, call.new_id))
    known = base.changed if base.exact else None
    revision = await append(s, plan.fleet, plan.kind, plan.after, call.writer, known)
    await failpoint("change.revision_appended")
    rollout = _rollout(plan, label, call)
    if not await _hooks_hold(s, rollout):
        rollout = _begun(rollout, plan, call)
    await rollouts.add(s, rollout)
    await failpoint("change.rollout_added")
    events += [revision_event(revision, rollout.id), _started_event(rollout, plan, call)]
    await journal.append(s, *events)
    if not plan.servers and (far := alone(rollout, call.now)).rollout != rollout:
        rollout = await record(s, rollout, far, call.writer)
    return Started(rollout, revision, plan.warnings)


async def _hooks_hold(s: Session, rollout: Rollout) -> bool:
    """Whether hooks are due before the first step, which begins at once where there are none."""
    if rollout.kind is Kind.ROLLBACK:
        return False
    moments, models = due(rollout), ("", *rollout.models)
    found = (one.hook for one in await hooks.hooks(s, rollout.fleet))
    return any(one.moment in moments and one.model in models for one in found)


def _begun(rollout: Rollout, plan: Plan, call: Call) -> Rollout:
    return started(rollout, covered(rollout, plan.servers), call.now)


def _rollout(plan: Plan, label: str, call: Call) -> Rollout:
    return Rollout(
        id=call.new_id,
        fleet=plan.fleet,
        models=tuple(sorted(plan.after)),
        kind=plan.kind,
        from_revision=plan.from_revision,
        to_revision=plan.to_revision,
        phase=Phase.PENDING,
        sentence="",
        steps=plan.steps,
        created_at=call.now,
        deadline_at=call.now + timedelta(seconds=DEADLINE_S),
        actor=call.actor,
        reason=call.reason,
        label=label,
        strategy=plan.strategy.name,
        strategy_number=plan.strategy.number,
    )


def _started_event(rollout: Rollout, plan: Plan, call: Call) -> Event:
    step = rollout.step
    return Event(
        kind=EventKind.ROLLOUT_STARTED,
        at=call.now,
        actor=call.actor,
        fleet=rollout.fleet,
        model=only(rollout.models),
        rollout=rollout.id,
        revision=rollout.to_revision,
        reason=call.reason,
        data={
            "kind": str(rollout.kind),
            "models": list(rollout.models),
            "label": rollout.label,
            "strategy": rollout.strategy,
            "step": str(step.name) if step else "",
            "servers": list(step.servers) if step else [],
            "supersedes": list(plan.supersedes),
            "warnings": list(plan.warnings),
        },
    )
