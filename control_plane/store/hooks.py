"""Hooks and their runs in the database.

A run is written down before it is first tried, and takes one result: who comes second is too late.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.domain.hook import Moment, Saved
from control_plane.domain.hook_document import check, document_of
from control_plane.domain.hook_runs import Run, RunState
from control_plane.store import deeds, rows
from control_plane.store.database import Session
from control_plane.store.hook_tables import HookRow, HookRunRow
from control_plane.store.tables import LiveRolloutRow

_OPEN = (RunState.PENDING.value, RunState.RUNNING.value)


async def add(s: Session, saved: Saved) -> None:
    """Store a new hook.

    Raises:
        AlreadyExists: the name is taken.
        NotFound: there is no such fleet.
    """
    hook = saved.hook
    made = await rows.insert_new(
        s,
        HookRow,
        name=hook.name,
        fleet=hook.fleet,
        document=document_of(hook),
        created_at=saved.created_at,
        created_by=saved.created_by,
        seq=saved.seq,
    )
    if not made:
        raise AlreadyExists(f"A hook named {hook.name} exists already.", name=hook.name)


async def hook(s: Session, name: str) -> Saved:
    """Return a hook.

    Raises:
        NotFound: no such hook.
    """
    return _saved(await rows.one_of(s, HookRow, name=name))


async def hooks(s: Session, fleet: str = "") -> tuple[Saved, ...]:
    """Return all hooks, or those of a fleet, by name."""
    found = (
        rows.all_by(s, HookRow, "name", fleet=fleet) if fleet else rows.all_by(s, HookRow, "name")
    )
    return tuple(_saved(one) for one in await found)


async def remove(s: Session, name: str) -> None:
    """Forget a hook; its runs stay.

    Raises:
        NotFound: no such hook.
    """
    table = rows.table_of(HookRow)
    gone = await s.execute(delete(table).where(table.c.name == name).returning(*table.c))
    if (found := gone.mappings().first()) is None:
        raise NotFound(f"There is no such hook: name {name}.", name=name)
    deeds.saw(s, "hooks", {"name": name}, dict(found))
    deeds.changed(s, "hooks", {"name": name}, None)


async def looked_at(s: Session, fleet: str, seq: int) -> None:
    """Write down that all events up to a number were looked at for a fleet's hooks."""
    table = rows.table_of(HookRow)
    older = (table.c.fleet == fleet, table.c.seq < seq)
    await s.execute(update(table).where(*older).values(seq=seq))


async def add_runs(s: Session, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Write runs down, those that are known already excepted; return the new ones."""
    made = []
    for one in runs:
        values = rows.values_of(one) | {"rollout": one.rollout or None}
        if await rows.insert_new(s, HookRunRow, **values):
            made.append(one)
    return tuple(made)


async def save_run(s: Session, run: Run) -> bool:
    """Write how a run stands; False, changing nothing, if it is over already or gone."""
    table = rows.table_of(HookRunRow)
    values = rows.values_of(run)
    changes = {
        name: values[name]
        for name in ("state", "attempts", "status", "duration_s", "sentence", "output")
    } | {"started_at": run.started_at, "ended_at": run.ended_at}
    still_open = (table.c.id == run.id, table.c.state.in_(_OPEN))
    changed = update(table).where(*still_open).values(**changes)
    return (await s.execute(changed.returning(table.c.id))).first() is not None


async def runs_of(s: Session, rollout: str) -> tuple[Run, ...]:
    """Return the runs of a rollout in the order in which they were called for."""
    statement = rows.columns_of(HookRunRow).where(HookRunRow.rollout == rollout)
    return await _runs(s, statement.order_by(HookRunRow.created_at, *_THEN))


async def runs_by(s: Session, hook: str, limit: int) -> tuple[Run, ...]:
    """Return the newest runs of a hook."""
    statement = rows.columns_of(HookRunRow).where(HookRunRow.hook == hook)
    return await _runs(s, statement.order_by(HookRunRow.created_at.desc(), *_THEN).limit(limit))


async def forget_runs_of_events(s: Session, *, before: datetime, most: int) -> int:
    """Delete up to `most` runs for events that ended before a time; return how many."""
    of_events = HookRunRow.rollout.is_(None)
    return await rows.delete_some(s, HookRunRow, most, HookRunRow.ended_at < before, of_events)


async def forget_runs_of_rollouts(s: Session, *, before: datetime, most: int) -> int:
    """Delete up to `most` runs that ended before a time, and their rollouts; return how many."""
    over = HookRunRow.rollout.not_in(select(LiveRolloutRow.rollout))
    return await rows.delete_some(s, HookRunRow, most, HookRunRow.ended_at < before, over)


async def open_runs(s: Session) -> tuple[Run, ...]:
    """Return the runs that are not over, of every fleet."""
    statement = rows.columns_of(HookRunRow).where(HookRunRow.state.in_(_OPEN))
    return await _runs(s, statement.order_by(HookRunRow.created_at, *_THEN))


_THEN = (HookRunRow.order, HookRunRow.hook, HookRunRow.server, HookRunRow.id)


async def _runs(s: Session, statement: Any) -> tuple[Run, ...]:
    found: Sequence[Mapping[str, Any]] = await rows.all_of(s, statement)
    return tuple(_run(one) for one in found)


def _run(row: Mapping[str, Any]) -> Run:
    decoded = {
        "moment": Moment(row["moment"]),
        "state": RunState(row["state"]),
        "rollout": row["rollout"] or "",
    }
    return Run(**{**row, **decoded})


def _saved(row: Mapping[str, Any]) -> Saved:
    created_at: datetime = row["created_at"]
    return Saved(check(row["document"]), created_at, row["created_by"], row["seq"])
