"""One pass over one server: observe, then decide, then at most one reload, then record.

What is desired is read after the server was looked at, so that a rollback that was acknowledged is
never followed by an older flip. Nothing here remembers what was sent but as an open intent.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from control_plane.domain import drift, standing
from control_plane.domain.action import Blocked, Cause, Converged, Plan, Reload, Wait
from control_plane.domain.assigned import assigned, owner_label
from control_plane.domain.assignment import Assignment
from control_plane.domain.errors import LeaseLost
from control_plane.domain.evidence import sent
from control_plane.domain.fleet import our_path
from control_plane.domain.observed import Intent, Look, Observed, Presence
from control_plane.domain.planner import plan_server, reload_timeout_s
from control_plane.domain.record import to_json
from control_plane.domain.signature import Signatures, from_json
from control_plane.domain.standing import Asked, Standpoint
from control_plane.domain.state import Able, ReloadAnswer, State
from control_plane.failpoints import failpoint
from control_plane.reconcile import observe
from control_plane.reconcile.adoption import take_up
from control_plane.reconcile.assignments import Desired
from control_plane.reconcile.difference import difference as changed_by
from control_plane.reconcile.news import Reporter
from control_plane.reconcile.observe import Material
from control_plane.reconcile.recorder import DesiredMoved, Entry
from control_plane.reconcile.sight import learn, see, see_effect, seen_just_now, stands_aside
from control_plane.reconcile.world import Key, Tracked, World
from control_plane.store import catalog

WATCH_S = 0.05
WATCHES_PER_S = 1_500  # by all servers together
PATIENCE = 0.02  # what moves for long is looked at less often: after this part of the time
LONGEST_WATCH_S = 1.0
_IDLE = (
    Cause.NOT_TAKEN_OVER,
    Cause.NO_REVISION,
    Cause.UNREACHABLE,
    Cause.DRIFTED,
    Cause.PAUSED,
)
_ALIVE = (State.START, State.LOADING, State.AVAILABLE, State.UNLOADING)
log = structlog.get_logger()


async def reconcile_server(world: World, it: Tracked) -> float:
    """Bring a server one action closer to what it should serve; return when to look again."""
    before = it.observed
    if not seen_just_now(world, it):
        await see(world, it)
        await failpoint("server.looked")
    last, believed = it.standpoint, world.desired.believed(it.server.fleet)
    same = believed is not None and believed.basis(it.server.name) == it.basis
    if last and same and _is_steady(it, last, before):
        return _pause_s(world, it, last.plan)
    desired = await _assign(world, it)
    if _unasked(it):
        await see(world, it)
        desired = await _assign(world, it)
        if _unasked(it):  # no answer: that they are not loaded there is not known either
            it.observed = replace(it.observed, looked_at=0.0)
    plan = await _decide(world, it, desired)
    if await take_up(world, it, desired):
        desired = await _assign(world, it)
        plan = await _decide(world, it, desired)
    await failpoint("server.planned")
    if isinstance(plan.action, Reload) and _may_push(world, it):
        plan = await _push(world, it, plan, desired)
    _note(world, it, desired, plan)
    await _record(world, it, plan)
    _tell_rollouts(world, it, desired)
    await failpoint("rollouts.told")
    return _pause_s(world, it, plan)


def _unasked(it: Tracked) -> bool:
    """Whether the server has not told yet of a model that is assigned to it."""
    return it.assignment is not None and bool(set(it.assignment.models) - set(it.observed.models))


def _is_steady(it: Tracked, last: Standpoint, before: Observed) -> bool:
    """Whether nothing changed since a plan that had nothing to do and waits for no time."""
    action = last.plan.action
    idle = action.cause if isinstance(action, Blocked) else action
    if idle not in _IDLE and not isinstance(idle, Converged):
        return False
    waited_for = it.unwritten or it.events or standing.unproven(it.observed, last.to_prove)
    return not waited_for and it.observed.says(before)


async def _assign(world: World, it: Tracked) -> Desired:
    """Take the desired state that nobody doubts; a push checks that it still stands."""
    fleet = it.server.fleet
    desired = await world.desired.certain(fleet)
    it.looking = False
    found = desired.servers.get(it.server.name)
    if found is not None and found.address == it.server.address:
        it.server = found
    owner = owner_label(world.installation, fleet)
    it.assignment = assigned(desired.goal, it.server, world.elsewhere(it), owner)
    if stands_aside(it) and drift.held(it.assignment, it.observed, world.now()) is None:
        it.observed = replace(it.observed, looked_at=0.0)  # it was looked at only now and then
    return desired


async def _decide(world: World, it: Tracked, desired: Desired) -> Plan:
    """Plan, ask versions what the plan asks of them, look at storage if it wants that."""
    plan = _planned(world, it)
    if asked := plan.ask or _early(it, plan, desired):
        able = await _ask(world, it, asked, desired)
        learn(it, Look(world.now(), able=able))
        plan = _planned(world, it)
    if plan.storage_wanted and it.assignment is not None:
        storage = await _storage(world, it, it.assignment, desired)
        await see(world, it)
        plan = _planned(world, it, storage)
    return plan


def _early(it: Tracked, plan: Plan, desired: Desired) -> tuple[Asked, ...]:
    """What has to answer though this server moves no label yet: the others wait for it."""
    found = standing.unproven(it.observed, desired.to_prove)
    return found if isinstance(plan.action, Converged | Wait) and plan.models else ()


def _planned(world: World, it: Tracked, storage: Mapping[str, Presence] | None = None) -> Plan:
    given = it.assignment or Assignment({}, "", taken_over=False)
    return plan_server(given, it.observed, storage, world.now())


async def _ask(
    world: World, it: Tracked, asked: tuple[Asked, ...], desired: Desired
) -> dict[str, dict[int, Able]]:
    """Ask versions one real request each, and the marker again meanwhile."""

    async def one(name: str, version: int) -> Able:
        signatures = await _signatures(world, name, version)
        material = Material(_place(desired, desired.base_paths[name]), signatures)
        s = world.options.ask_timeout_s
        return await observe.ask(it.client, world.storage, (name, version), material, s)

    asking = asyncio.gather(*(one(*each) for each in asked))
    answers, _ = await asyncio.gather(asking, see(world, it))
    found: dict[str, dict[int, Able]] = {}
    for (name, version), answer in zip(asked, answers, strict=True):
        found.setdefault(name, {})[version] = answer
    return found


def _place(desired: Desired, base_path: str) -> str:
    """Where we see what servers see at a base path; "" where we do not."""
    fleet = desired.fleet
    return our_path(fleet.path_map, base_path) if fleet.storage == "visible" else ""


async def _signatures(world: World, name: str, version: int) -> Signatures | None:
    """What the catalog knows of a version's signatures: a number never changes its content."""
    known = world.signatures.get((name, version))
    if known is None:
        async with world.catalog_turn:
            known = world.signatures.get((name, version))
            if known is None:
                known = await _read_signatures(world, name, version)
    return known or None


async def _read_signatures(world: World, name: str, version: int) -> Signatures:
    async with world.db.read() as s:
        read = (await catalog.these_versions(s, name, (version,))).get(version)
    found = world.signatures[name, version] = from_json(read.signatures) if read else {}
    return found


async def _storage(
    world: World, it: Tracked, given: Assignment, desired: Desired
) -> dict[str, Presence]:
    """Look at every base path of the config to come, and at the versions that are not in it yet."""
    held = it.observed.verified.config.models if it.observed.verified else {}
    places = {name: _place(desired, one.base_path) for name, one in held.items()}
    places |= {name: _place(desired, one.base_path) for name, one in given.models.items()}

    async def one(name: str, place: str) -> Presence:
        want = given.models.get(name)
        in_force = held[name].versions if name in held else frozenset[int]()
        loaded = frozenset(v for v in in_force if it.observed.available(name, v))
        versions = want.versions if want and want.versions - loaded else frozenset[int]()
        return await world.storage.presence(place, versions) if place else Presence()

    found = await asyncio.gather(*(one(*each) for each in places.items()))
    return dict(zip(places, found, strict=True))


def _may_push(world: World, it: Tracked) -> bool:
    """Whether the lease lasts and nothing is known only in part."""
    return world.leadership.may_push(it.server.fleet) and it.observed.looked_at > 0


async def _push(world: World, it: Tracked, plan: Plan, desired: Desired) -> Plan:
    """Commit the intent, send the config, and look at what it did."""
    push = plan.action
    assert isinstance(push, Reload)  # noqa: S101 - narrows for mypy
    epoch = world.leadership.epoch(it.server.fleet) or 0
    intent = Intent(push.config, push.marker, push.names_added, world.now(), epoch)
    known = sent(it.observed, intent, _held(it.observed), _wanted(it))
    await failpoint("intent.before_commit")
    try:
        await _write(world, it, known, plan, desired.fleet.head)
    except DesiredMoved:
        world.desired.doubt(it.server.fleet)
        world.nudge(it.key)
        return _planned(world, it)
    await failpoint("intent.committed")
    if not world.leadership.may_push(it.server.fleet):  # the commit took too long
        return _planned(world, it)
    difference = partial(changed_by, it.observed.verified, push, _owner(it))
    it.observed = known
    call = asyncio.create_task(_call(world, it, push, intent, difference))
    it.calls.add(call)
    call.add_done_callback(it.calls.discard)
    if push.names_added:
        return _planned(world, it)
    await call
    await see_effect(world, it, push)
    await failpoint("push.verified")
    return _planned(world, it)


async def _call(
    world: World,
    it: Tracked,
    push: Reload,
    intent: Intent,
    difference: Callable[[], Mapping[str, Any]],
) -> None:
    """Send it and keep the answer for the next look; a new name holds the call for its load."""
    timeout_s = reload_timeout_s(push, it.assignment.traits) if it.assignment else 0.0
    await failpoint("push.before_send")
    answer = await _send(world, it, push, timeout_s)
    await failpoint("push.answered")
    now = world.now()
    it.answers.append(replace(intent, answer=answer, answered_at=now))
    told = Reporter(it.server, world.clock())
    it.events.append(told.reloaded(intent, answer, now - intent.sent_at, push.why, difference()))
    say = log.info if answer.ok else log.warning
    say("reloaded", server=it.server.name, code=answer.code, error=answer.message, why=push.why)
    if push.names_added:
        world.nudge(it.key)


async def _send(world: World, it: Tracked, push: Reload, timeout_s: float) -> ReloadAnswer:
    """Send it while the lease lasts: who froze since its intent was written sends nothing.

    What returns in milliseconds is given up with the lease, so that it is not sent later either.
    """
    if not world.leadership.may_push(it.server.fleet):
        return ReloadAnswer("CANCELLED", "the lease ended before it was sent")
    if not push.names_added:
        timeout_s = min(timeout_s, world.leadership.left_s(it.server.fleet))
    return await it.client.reload(push.config, push.marker, _owner(it), timeout_s=timeout_s)


def _owner(it: Tracked) -> str:
    return it.assignment.owner if it.assignment else ""


def _held(observed: Observed) -> dict[str, frozenset[int]]:
    """The versions that the server's config holds, as far as that is known."""
    if observed.verified:
        return {name: one.versions for name, one in observed.verified.config.models.items()}
    return {
        name: frozenset(v for v, one in versions.items() if one.state in _ALIVE)
        for name, versions in observed.models.items()
    }


def _wanted(it: Tracked) -> dict[str, frozenset[int]]:
    models = it.assignment.models if it.assignment else {}
    return {name: one.versions for name, one in models.items()}


def _note(world: World, it: Tracked, desired: Desired, plan: Plan) -> None:
    """Keep the plan, and say it if it says something new."""
    last, targets = it.standpoint, desired.targets_of(it.server.name)
    it.standpoint = Standpoint(plan, it.observed, targets, desired.begun, desired.to_prove)
    it.basis = desired.basis(it.server.name)
    if last is None or last.plan.sentence != plan.sentence:
        log.info("server", fleet=it.server.fleet, server=it.server.name, sentence=plan.sentence)
    if _pauses(plan) and not (last is not None and _pauses(last.plan)):
        it.events.append(Reporter(it.server, world.clock()).paused(plan.sentence))
    moves = isinstance(plan.action, Reload) or standing.waits(plan)
    (world.moving.add if moves else world.moving.discard)(it.key)


def _pauses(plan: Plan) -> bool:
    return isinstance(plan.action, Blocked) and plan.action.cause is Cause.PAUSED


async def _record(world: World, it: Tracked, plan: Plan) -> None:
    """Write what changed; a pass that saw no change writes nothing."""
    status = standing.status(plan, it.observed)
    if it.events or status is not it.status or not it.observed.says(it.recorded):
        await _write(world, it, it.observed, plan, None)


async def _write(world: World, it: Tracked, known: Observed, plan: Plan, head: int | None) -> None:
    it.unwritten = True
    epoch = world.leadership.epoch(it.server.fleet)
    if epoch is None and head is None:
        return
    if epoch is None:
        raise LeaseLost(fleet=it.server.fleet)
    status, told = standing.status(plan, known), Reporter(it.server, world.clock())
    events = [*told.changes(it.recorded, known), *it.events]
    if status is not it.status:
        events.append(told.status(status, it.status or "", plan.sentence))
    document = to_json(known) | {"status": str(status), "sentence": plan.sentence}
    where = (it.server.fleet, it.server.name)
    kept = len(it.events)
    await world.recorder.write(Entry(*where, epoch, document, tuple(events), head))
    del it.events[:kept]
    it.recorded, it.status, it.unwritten = known, status, False
    world.written()


def _tell_rollouts(world: World, it: Tracked, desired: Desired) -> None:
    """Wake the rollouts to whose steps this server now stands differently."""
    told = {}
    for one in desired.live:
        reach = standing.fact(one.rollout, one.key, it.standpoint).reach
        told[one.rollout.id] = (one.key, reach)
        if it.told.get(one.rollout.id) != told[one.rollout.id]:
            world.nudge(Key("rollout", it.server.fleet, one.rollout.id))
    it.told = told


def _pause_s(world: World, it: Tracked, plan: Plan) -> float:
    options = world.options
    if not it.observed.reachable:
        return options.dial_s
    if isinstance(plan.action, Reload):
        return 0.0 if _may_push(world, it) else options.dial_s
    waits = standing.waits(plan)
    if it.standpoint and standing.unproven(it.observed, it.standpoint.to_prove):
        return _watch_s(world, it)
    if not waits:
        return options.observe_interval_s
    pauses = [one.look_again_s or _watch_s(world, it) for one in waits]
    return min(*pauses, options.observe_interval_s)


def _watch_s(world: World, it: Tracked) -> float:
    quiet_s = max(world.now() - it.observed.quiet_since, 0.0)
    patience_s = min(quiet_s * PATIENCE, LONGEST_WATCH_S)
    return max(WATCH_S, len(world.moving) / WATCHES_PER_S, patience_s)
