"""Hooks: create and delete them, and look at them and their runs."""

from datetime import datetime
from typing import Any, Final

from control_plane.domain.events import Event, EventKind
from control_plane.domain.hook import Hook, Saved
from control_plane.domain.hook_document import document_of
from control_plane.domain.hook_runs import Run
from control_plane.services.commit import Commit
from control_plane.store import catalog, fleets, journal
from control_plane.store import hooks as store
from control_plane.store.database import Database

MOST_RUNS: Final = 100
_HIDDEN: Final = "***"


async def create(
    db: Database, hook: Hook, *, actor: str, now: datetime, commit: Commit[Saved]
) -> Saved:
    """Create a hook; it is for rollouts and events that come after it.

    Raises:
        AlreadyExists: the name is taken.
        NotFound: there is no such fleet or model.
    """
    async with db.begin() as s:
        await fleets.fleet(s, hook.fleet)
        if hook.model:
            await catalog.model(s, hook.model)
        saved = Saved(hook, now, actor, await journal.last_seq(s))
        await store.add(s, saved)
        await journal.append(s, _event(EventKind.HOOK_CREATED, hook, actor, now))
        await commit(s, saved)
    return saved


async def delete(
    db: Database, name: str, *, actor: str, now: datetime, commit: Commit[Saved]
) -> Saved:
    """Delete a hook; what waits for it goes on without it.

    Raises:
        NotFound: no such hook.
    """
    async with db.begin() as s:
        saved = await store.hook(s, name)
        await store.remove(s, name)
        await journal.append(s, _event(EventKind.HOOK_DELETED, saved.hook, actor, now))
        await commit(s, saved)
    return saved


async def show(db: Database, name: str) -> Saved:
    """Return a hook."""
    async with db.read() as s:
        return await store.hook(s, name)


async def listed(db: Database, fleet: str = "") -> tuple[Saved, ...]:
    """Return all hooks, or those of a fleet, by name."""
    async with db.read() as s:
        return await store.hooks(s, fleet)


async def runs_by(db: Database, name: str) -> tuple[Run, ...]:
    """Return the newest runs of a hook, deleted or not."""
    async with db.read() as s:
        return await store.runs_by(s, name, MOST_RUNS)


async def runs_of(db: Database, rollout: str) -> tuple[Run, ...]:
    """Return the runs of a rollout in the order in which they were called for."""
    async with db.read() as s:
        return await store.runs_of(s, rollout)


def hook_json(saved: Saved) -> dict[str, Any]:
    """A hook as people may see it; what its headers say is a secret."""
    document = document_of(saved.hook)
    if "http" in document:
        names = document["http"]["headers"]
        document["http"] = document["http"] | {"headers": dict.fromkeys(names, _HIDDEN)}
    made = {"created_at": saved.created_at.isoformat(), "created_by": saved.created_by}
    return document | made


def run_json(run: Run) -> dict[str, Any]:
    """A run of a hook."""
    return {
        "name": run.hook,
        "moment": str(run.moment),
        "rollout": run.rollout,
        "model": run.model,
        "version": run.version,
        "server": run.server,
        "state": str(run.state),
        "attempts": run.attempts,
        "status": run.status,
        "duration_s": run.duration_s,
        "request_id": run.id,
        "sentence": run.sentence,
        "output": run.output,
        "created_at": run.created_at.isoformat(),
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
    }


def _event(kind: EventKind, hook: Hook, actor: str, now: datetime) -> Event:
    data = {"hook": hook.name, "moment": str(hook.moment)}
    return Event(kind, now, actor, fleet=hook.fleet, model=hook.model, data=data)
