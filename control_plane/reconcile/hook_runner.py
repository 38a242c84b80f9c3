"""Carries out runs of hooks that were written down, and writes down what came of them.

Every write is conditional on the fleet's epoch; who lost it stops, and the next leader runs anew
what has no result, under the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

import structlog

from control_plane.domain.advance import LOOP_ACTOR
from control_plane.domain.errors import LeaseLost, StoreBusy
from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Again, Bad, Good, Hook, Moment, Tried, pause_s
from control_plane.domain.hook_runs import Run, RunState, waits_for
from control_plane.failpoints import failpoint
from control_plane.reconcile.leader import Leadership
from control_plane.store import hooks as store
from control_plane.store import journal, leases
from control_plane.store.database import Database

SIDE_BY_SIDE: Final = 16  # of one fleet
_MOST_WORDS: Final = 2_000
_BUSY_PAUSE_S: Final = 0.2
log = structlog.get_logger()
Attempt = Callable[[Hook, Run], Awaitable[Tried]]


class _Abandoned(Exception):
    """The run is over already, or gone."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What runs stand on."""

    db: Database
    leadership: Leadership
    clock: Callable[[], datetime]
    jitter: Callable[[], float]  # uniform in [0, 1)


class HookRunner:
    """Runs that are not over, in this process."""

    def __init__(self, ground: Ground, attempt: Attempt, told: Callable[[Run], None]) -> None:
        self._ground = ground
        self._attempt = attempt
        self._told = told  # of every change of a run
        self._open: dict[str, tuple[Hook, Run]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}  # by fleet

    def take(self, hook: Hook, run: Run) -> None:
        """Run it as soon as those that go before it are over; nothing happens if it is known."""
        if run.id not in self._open:
            self._open[run.id] = (hook, run)
            self._begin()

    def knows(self, id_: str) -> bool:
        """Whether a run is open here."""
        return id_ in self._open

    async def close(self) -> None:
        """Stop; what has no result is run anew by who comes next."""
        tasks = list(self._tasks.values())
        self._open.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self) -> None:
        for id_, (hook, run) in self._open.items():
            others = (other for _, other in self._open.values())
            if id_ not in self._tasks and not any(waits_for(run, other) for other in others):
                self._tasks[id_] = asyncio.create_task(self._carry_out(hook, run))

    async def _carry_out(self, hook: Hook, run: Run) -> None:
        try:
            await self._tries(hook, run)
        except (_Abandoned, LeaseLost):
            log.info("hook left to others", hook=hook.name, run=run.id)
        finally:
            self._open.pop(run.id, None)
            self._tasks.pop(run.id, None)
            self._begin()

    async def _tries(self, hook: Hook, run: Run) -> None:
        slots = self._slots.setdefault(run.fleet, asyncio.Semaphore(SIDE_BY_SIDE))
        for attempt in range(1, hook.retries + 2):
            async with slots:
                run = await self._try_once(hook, run, last=attempt > hook.retries)
            if run.state.over:
                return
            await asyncio.sleep(pause_s(attempt, self._ground.jitter()))

    async def _try_once(self, hook: Hook, run: Run, *, last: bool) -> Run:
        now = self._ground.clock()
        begun = replace(
            run,
            state=RunState.RUNNING,
            attempts=run.attempts + 1,
            started_at=run.started_at or now,
        )
        await self._save(begun)
        await failpoint("hook.begun")
        at = asyncio.get_running_loop().time()
        tried = await self._attempt(hook, begun)
        await failpoint("hook.called")
        took_s = asyncio.get_running_loop().time() - at
        done = _after(begun, tried, took_s, last=last)
        if done.state.over:
            done = replace(done, ended_at=self._ground.clock())
        await self._save(done)
        await failpoint("hook.result_written")
        return done

    async def _save(self, run: Run) -> None:
        while True:
            try:
                await self._write(run)
            except StoreBusy:
                await asyncio.sleep(_BUSY_PAUSE_S)
            else:
                self._told(run)
                return

    async def _write(self, run: Run) -> None:
        epoch = self._ground.leadership.epoch(run.fleet)
        if epoch is None:
            raise LeaseLost(fleet=run.fleet)
        async with self._ground.db.begin() as s:
            await leases.check(s, run.fleet, epoch)
            if not await store.save_run(s, run):
                raise _Abandoned
            if run.state.over and run.moment is not Moment.ON_EVENT:
                await journal.append(s, _event(run))
                await failpoint("hook.before_result")


def _after(run: Run, tried: Tried, took_s: float, *, last: bool) -> Run:
    match tried.outcome:
        case Good():
            state = RunState.SUCCEEDED
        case Bad():
            state = RunState.FAILED
        case Again():
            state = RunState.FAILED if last else RunState.RUNNING
        case _:
            assert_never(tried.outcome)
    return replace(
        run,
        state=state,
        status=tried.status,
        duration_s=round(took_s, 6),
        sentence=_storable(tried.outcome.sentence),
        output=tried.output,
    )


def _storable(words: str) -> str:
    """Words of others, as any database can hold them."""
    return words.encode("utf-8", "replace").decode().replace("\x00", "?")[:_MOST_WORDS]


def _event(run: Run) -> Event:
    data = {
        "hook": run.hook,
        "moment": str(run.moment),
        "state": str(run.state),
        "request_id": run.id,
        "attempts": run.attempts,
        "duration_s": run.duration_s,
        "sentence": run.sentence,
    }
    return Event(
        kind=EventKind.HOOK_ENDED,
        at=run.ended_at or run.created_at,
        actor=LOOP_ACTOR,
        fleet=run.fleet,
        model=run.model,
        server=run.server,
        rollout=run.rollout,
        data=data,
    )
