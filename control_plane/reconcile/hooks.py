"""Hooks of rollouts: which are due now, and how their moments stand.

A run is written down before it is first tried, when its turn has come, and from then on it is run
to its end whatever becomes of its rollout. The journal tells of rollouts that ended and of events
that hooks wait for; it is read from where it was read last, so nothing is missed over a restart.
Hooks never hold a rollback: theirs run beside it.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from control_plane.domain import hook_runs, moments, standing
from control_plane.domain.errors import NotFound, Transient
from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Hook, HookFact, Moment, Saved
from control_plane.domain.hook_runs import Planned, Run, RunState, Situation
from control_plane.domain.reach import Reach
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.state import State
from control_plane.failpoints import failpoint
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.hook_attempts import HookAttempts
from control_plane.reconcile.hook_runner import Ground, HookRunner
from control_plane.reconcile.world import Key, World
from control_plane.services.transitions import around
from control_plane.store import fleets, journal, leases, rollouts
from control_plane.store import hooks as store
from control_plane.store.database import Page, Session

FOLLOW_S: Final = 0.5  # the journal, while there are hooks
IDLE_S: Final = 5.0
_PAGE: Final = 500
_RECENT: Final = Page(size=20)  # rollouts of a model among which a late load belongs to one
_OF_ROLLOUTS: Final = (
    EventKind.ROLLOUT_STARTED,
    EventKind.ROLLOUT_STEP_STARTED,
    EventKind.ROLLOUT_STEP_ENDED,
    EventKind.ROLLOUT_ENDED,
)


@dataclass(slots=True)
class _Book:
    """What is known of one live rollout's hooks."""

    rollout: Rollout
    epoch: int
    hooks: tuple[Hook, ...]
    runs: dict[str, Run] = field(default_factory=dict)


class LiveHooks:
    """All hooks that this process runs."""

    def __init__(
        self, world: World, jitter: Callable[[], float], commands_file: Path | None = None
    ) -> None:
        self._world = world
        self._attempts = HookAttempts(world, commands_file)
        ground = Ground(world.db, world.leadership, world.clock, jitter)
        self._runner = HookRunner(ground, self._attempts.attempt, self._changed)
        self._books: dict[str, _Book] = {}  # by rollout
        self._read_to: dict[str, int] = {}  # by fleet: the newest event that was looked at
        self._poked = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take up what was left open, and follow the journal."""
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop all runs; those without a result are run anew by who comes next."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._runner.close()
        await self._attempts.close()

    async def facts(self, live: Live) -> Mapping[Moment, HookFact]:
        """Say how the moments stand where a rollout is or will be next; begin what is due.

        A moment that is not named has no hooks. Nothing is named of a rollback.

        Raises:
            LeaseLost: another process reconciles the fleet.
            StoreBusy: the database is busy.
        """
        rollout = live.rollout
        epoch = self._world.leadership.epoch(rollout.fleet)
        if rollout.kind is Kind.ROLLBACK or epoch is None:
            return {}
        book = await self._book(rollout, epoch)
        if not book.hooks:
            return {}
        moments = hook_runs.moments_between(rollout, self._world.clock())
        plan = hook_runs.planned(book.hooks, self._situation(live), moments)
        if not live.begun and rollout.phase is not Phase.PAUSED:
            await self._begin(book, hook_runs.startable(plan, book.runs, rollout.id))
        return hook_runs.facts(plan, book.runs, rollout.id)

    async def _book(self, rollout: Rollout, epoch: int) -> _Book:
        """Read what there is of a rollout when it is seen first; from then on it is known."""
        known = self._books.get(rollout.id)
        if known is not None and known.epoch == epoch:
            known.rollout = rollout
            return known
        async with self._world.db.glance() as s:
            saved = await store.hooks(s, rollout.fleet)
            hooks = _hooks_for(rollout, saved)
            runs = await store.runs_of(s, rollout.id) if hooks else ()
        book = _Book(rollout, epoch, hooks, {one.id: one for one in runs})
        self._books[rollout.id] = book
        self._take(hooks, [one for one in runs if not one.state.over])
        if hooks:
            self._poked.set()
        return book

    async def _begin(self, book: _Book, new: Collection[Planned]) -> None:
        """Write down the runs whose turn has come, and begin them."""
        if not new:
            return
        now = self._world.clock()
        runs = [hook_runs.planned_run(one, book.rollout, now) for one in new]
        await self._write_down(book.rollout.fleet, book.epoch, runs)
        book.runs |= {one.id: one for one in runs}
        self._take(book.hooks, runs)

    def _nudge(self, rollout: Rollout) -> None:
        self._world.nudge(Key("rollout", rollout.fleet, rollout.id))

    def _situation(self, live: Live) -> Situation:
        rollout = live.rollout
        known = self._world.desired.known(rollout.fleet)
        ours = {one.name for one in known.ours} if known else set()
        begun = [one for one in rollout.steps if one.begun]
        counted = ours & set(begun[-1].servers) if begun else self._answering(live, ours)
        return Situation(rollout, live.before, live.after, frozenset(counted - {*rollout.laggards}))

    def _answering(self, live: Live, ours: set[str]) -> set[str]:
        tracked = self._world.of(live.rollout.fleet)
        reach = {
            name: standing.fact(live.rollout, live.key, tracked[name].standpoint).reach
            for name in ours & set(tracked)
        }
        return {name for name, one in reach.items() if one is not Reach.UNREACHABLE}

    async def _write_down(
        self, fleet: str, epoch: int, runs: Iterable[Run], seq: int = 0
    ) -> tuple[Run, ...]:
        """Write runs down, and how far the journal was read; return those that are new."""
        await failpoint("hook.before_written")
        async with self._world.db.begin() as s:
            await leases.check(s, fleet, epoch)
            if seq:
                await store.looked_at(s, fleet, seq)
            new = await store.add_runs(s, runs)
        await failpoint("hook.written")
        return new

    def _take(self, hooks: Iterable[Hook], runs: Iterable[Run]) -> None:
        named = {one.name: one for one in hooks}
        for run in runs:
            if run.hook in named:
                self._runner.take(named[run.hook], run)

    def _changed(self, run: Run) -> None:
        book = self._books.get(run.rollout)
        if book is not None and run.id in book.runs:
            book.runs[run.id] = run
            self._nudge(book.rollout)
        self._world.written()

    async def _follow(self) -> None:
        while True:
            busy = False
            with suppress(Transient):
                busy = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_S if busy else IDLE_S):
                    await self._poked.wait()
            self._poked.clear()

    async def _look(self) -> bool:
        """Look at the journal and at what is open, for the fleets that are ours."""
        async with self._world.db.read() as s:
            saved = await store.hooks(s)
            left = await store.open_runs(s)
        self._keep_books(saved)
        for fleet in {one.hook.fleet for one in saved} | {one.fleet for one in left}:
            epoch = self._world.leadership.epoch(fleet)
            if epoch is not None:
                mine = [one for one in saved if one.hook.fleet == fleet]
                await self._take_up(fleet, mine, [one for one in left if one.fleet == fleet])
                await self._read_on(fleet, epoch, mine)
        return bool(saved or left)

    def _keep_books(self, saved: Iterable[Saved]) -> None:
        """Let go of rollouts that are over and of hooks that were deleted."""
        for id_, book in list(self._books.items()):
            known = self._world.desired.known(book.rollout.fleet)
            if known is None or known.rollout(id_) is None:
                del self._books[id_]
            elif book.hooks != (hooks := _hooks_for(book.rollout, saved)):
                book.hooks = hooks
                self._nudge(book.rollout)

    async def _take_up(self, fleet: str, saved: Iterable[Saved], left: Iterable[Run]) -> None:
        hooks = {one.hook.name: one.hook for one in saved}
        self._take(hooks.values(), left)
        orphans = [one for one in left if one.hook not in hooks]
        for one in orphans:
            await self._give_up(fleet, one)

    async def _give_up(self, fleet: str, run: Run) -> None:
        """End a run whose hook was deleted before it had a result."""
        now = self._world.clock()
        text = "the hook was deleted before this run had a result"
        over = replace(run, state=RunState.FAILED, sentence=text, ended_at=now)
        epoch = self._world.leadership.epoch(fleet)
        if epoch is not None and not self._runner.knows(run.id):
            async with self._world.db.begin() as s:
                await leases.check(s, fleet, epoch)
                await store.save_run(s, over)
            self._changed(over)

    async def _read_on(self, fleet: str, epoch: int, saved: list[Saved]) -> None:
        """Read the fleet's events from where they were read last, and begin what they call for."""
        if not saved:
            return
        written = min(one.seq for one in saved)
        after = max(written, self._read_to.get(fleet, 0))
        now = self._world.clock()
        async with self._world.db.read() as s:
            found = await journal.events(s, after, _PAGE)
            mine = [one for one in found if one.fleet in ("", fleet)]
            runs = [run for one in mine for run in await _called_for(s, one, saved, now)]
        if not found:
            return
        await failpoint("hook.events_read")
        last = found[-1].seq
        if runs or last - written >= _PAGE:
            new = await self._write_down(fleet, epoch, runs, last)
            self._take([one.hook for one in saved], new)
        self._read_to[fleet] = last
        if len(found) == _PAGE:
            self._poked.set()


def _hooks_for(rollout: Rollout, saved: Iterable[Saved]) -> tuple[Hook, ...]:
    """The hooks of a rollout are those that were there before it."""
    mine = (one for one in saved if one.hook.fleet == rollout.fleet)
    return tuple(one.hook for one in mine if one.created_at <= rollout.created_at)


async def _called_for(
    s: Session, event: Event, saved: Iterable[Saved], now: datetime
) -> tuple[Run, ...]:
    """The runs that an event calls for: of those who wait for it, and of a rollout beside it."""
    runs = tuple(
        hook_runs.event_run(one.hook, event, now)
        for one in saved
        if one.seq < event.seq
        and event.kind in one.hook.events
        and one.hook.model in ("", event.model)
    )
    if event.kind is EventKind.VERSION_STATE_CHANGED:
        return runs + await _called_for_late(s, event, saved, now)
    if not event.rollout or event.kind not in _OF_ROLLOUTS:
        return runs
    try:
        rollout = await rollouts.rollout(s, event.rollout)
    except NotFound:
        return runs
    beside = hook_runs.moments_beside(rollout, event)
    hooks = _hooks_for(rollout, saved)
    if not beside or not hooks:
        return runs
    servers = {name for step in rollout.steps for name in step.servers} - set(rollout.laggards)
    at = Situation(rollout, *await around(s, rollout), frozenset(servers))
    known = {one.id for one in await store.runs_of(s, rollout.id)}
    plan = hook_runs.planned(hooks, at, beside)
    made = (hook_runs.planned_run(one, rollout, now) for one in plan)
    return runs + tuple(one for one in made if one.id not in known)


async def _called_for_late(
    s: Session, event: Event, saved: Iterable[Saved], now: datetime
) -> tuple[Run, ...]:
    """The runs for a version that a server of ours loaded later than its rollout's others."""
    after_load = [one for one in saved if one.hook.moment is Moment.AFTER_LOAD]
    if not after_load or event.data.get("state") != State.AVAILABLE.name:
        return ()
    recent = await rollouts.rollouts(s, _RECENT, fleet=event.fleet, model=event.model)
    for rollout in recent.items:
        if moments.loaded_late(rollout, event) and await _is_ours(s, event.fleet, event.server):
            at = Situation(rollout, *await around(s, rollout), frozenset())
            known = {one.id for one in await store.runs_of(s, rollout.id)}
            hooks = _hooks_for(rollout, after_load)
            if plan := hook_runs.planned_late(hooks, at, event, known):
                return tuple(hook_runs.planned_run(one, rollout, now) for one in plan)
    return ()


async def _is_ours(s: Session, fleet: str, server: str) -> bool:
    try:
        found = await fleets.server(s, fleet, server)
        return found.taken_over or (await fleets.fleet(s, fleet)).take_over == "always"
    except NotFound:
        return False
