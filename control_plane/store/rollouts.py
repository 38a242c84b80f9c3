"""Rollouts, and which versions labels were verified on, in the database.

The key of `live_rollouts` lets a deployment have one live rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, tuple_, update

from control_plane.domain.errors import AlreadyExists, FieldInvalid, RolloutInFlight
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.store import leases, rows
from control_plane.store.database import Page, Paged, Session, cursor, key_of
from control_plane.store.tables import (
    LiveRolloutRow,
    RolloutModelRow,
    RolloutRow,
    VerificationRow,
)

_ABOUT = insert(rows.table_of(RolloutModelRow))
_LIVE = (
    rows.columns_of(RolloutRow)
    .where(
        RolloutRow.id.in_(
            select(LiveRolloutRow.rollout).where(LiveRolloutRow.fleet == bindparam("fleet"))
        )
    )
    .order_by(RolloutRow.created_at, RolloutRow.id)
)
_VERIFIED = (
    rows.by_key(VerificationRow, ("fleet", "model", "label"))
    .with_only_columns(
        VerificationRow.label,
        VerificationRow.version,
        VerificationRow.revision,
        VerificationRow.at,
        VerificationRow.rolled_back_at,
    )
    .order_by(VerificationRow.at.desc(), VerificationRow.revision.desc())
)


@dataclass(frozen=True, slots=True)
class Verified:
    """That a label was seen on a version on every server that counts."""

    label: str
    version: int
    revision: int
    at: datetime
    rolled_back_at: datetime | None


async def add(s: Session, rollout: Rollout) -> None:
    """Store a new rollout.

    Raises:
        RolloutInFlight: one of its deployments has a live rollout.
    """
    if not await rows.insert_new(s, RolloutRow, **_values(rollout)):
        raise AlreadyExists(f"The rollout {rollout.id} exists already.")
    each = [{"model": model, "rollout": rollout.id} for model in sorted(set(rollout.models))]
    if each:
        await s.execute(_ABOUT, each)
    if rollout.phase.live:
        await _claim(s, rollout)


async def rollout(s: Session, id: str) -> Rollout:  # noqa: A002 - it is the rollout's own word
    """Return a rollout.

    Raises:
        NotFound: no such rollout.
    """
    return _rollout(await rows.one_of(s, RolloutRow, id=id))


async def live(s: Session, fleet: str) -> tuple[Rollout, ...]:
    """Return a fleet's live rollouts, the oldest first."""
    found = await s.execute(_LIVE, {"fleet": fleet})
    return tuple(_rollout(one) for one in found.mappings())


async def live_of(s: Session, fleet: str, model: str) -> Rollout | None:
    """Return the live rollout of a deployment, if it has one."""
    claimed = select(LiveRolloutRow.rollout).where(
        LiveRolloutRow.fleet == fleet, LiveRolloutRow.model == model
    )
    found = await rows.all_of(s, rows.columns_of(RolloutRow).where(RolloutRow.id.in_(claimed)))
    return _rollout(found[0]) if found else None


async def rollouts(
    s: Session,
    page: Page = Page(),  # noqa: B008
    *,
    fleet: str = "",
    model: str = "",
    phase: str = "",
) -> Paged[Rollout]:
    """Return rollouts, the newest first; "" stands for every fleet, model or phase."""
    statement = rows.columns_of(RolloutRow)
    if fleet:
        statement = statement.where(RolloutRow.fleet == fleet)
    if phase:
        statement = statement.where(RolloutRow.phase == phase)
    if model:
        about = select(RolloutModelRow.rollout).where(RolloutModelRow.model == model)
        statement = statement.where(RolloutRow.id.in_(about))
    order = tuple_(RolloutRow.created_at, RolloutRow.id)
    if key := key_of(page.after, str, str):
        statement = statement.where(order < (_time("page_token", key[0]), key[1]))
    newest_first = (RolloutRow.created_at.desc(), RolloutRow.id.desc())
    found = await rows.all_of(s, statement.order_by(*newest_first).limit(page.size + 1))
    items = tuple(_rollout(one) for one in found[: page.size])
    more = len(found) > page.size
    return Paged(items, cursor(items[-1].created_at.isoformat(), items[-1].id) if more else "")


async def save(
    s: Session, before: Rollout, rollout: Rollout, *, epoch: int | None = None
) -> Rollout:
    """Write how a rollout that was `before` stands; with an epoch, if that is still the fleet's.

    Raises:
        LeaseLost: another process reconciles the fleet.
        NotFound: no such rollout.
        PreconditionFailed: it changed since it was read.
        RolloutInFlight: it would live again beside another.
    """
    if epoch is not None:
        await leases.check(s, rollout.fleet, epoch)
    values = _values(rollout)
    for fixed in ("id", "fleet", "models", "kind", "created_at", "actor", "rv"):
        del values[fixed]
    rv = await rows.save(s, RolloutRow, {"id": rollout.id}, values, before.rv)
    if rollout.phase.live and not before.phase.live:
        await _claim(s, rollout)
    elif not rollout.phase.live:
        await s.execute(delete(LiveRolloutRow).where(LiveRolloutRow.rollout == rollout.id))
    return replace(rollout, rv=rv)


async def verify_label(
    s: Session, fleet: str, model: str, *seen: *tuple[str, int, int, datetime]
) -> None:
    """Record that a label was verified, once per revision: label, version, revision, time."""
    label, version, revision, at = seen
    key = {"fleet": fleet, "model": model, "label": label, "version": version}
    await rows.insert_new(s, VerificationRow, **key, revision=revision, at=at, rolled_back_at=None)


async def verified(s: Session, fleet: str, model: str, label: str) -> tuple[Verified, ...]:
    """Return the versions that a label was verified on, the newest first."""
    key = {"fleet": fleet, "model": model, "label": label}
    return tuple(Verified(*one) for one in await s.execute(_VERIFIED, key))


async def mark_rolled_back_from(
    s: Session, fleet: str, model: str, label: str, version: int, at: datetime
) -> None:
    """Record that a label was rolled back from a version, until it is verified anew."""
    unmarked = (VerificationRow.version == version, VerificationRow.rolled_back_at.is_(None))
    where = (*_of_label(fleet, model, label), *unmarked)
    await s.execute(update(VerificationRow).where(*where).values(rolled_back_at=at))


def _of_label(fleet: str, model: str, label: str) -> tuple[Any, ...]:
    return (
        VerificationRow.fleet == fleet,
        VerificationRow.model == model,
        VerificationRow.label == label,
    )


async def _claim(s: Session, rollout: Rollout) -> None:
    for model in sorted(set(rollout.models)):
        key = {"fleet": rollout.fleet, "model": model}
        if await rows.insert_new(s, LiveRolloutRow, **key, rollout=rollout.id):
            continue
        other = await live_of(s, rollout.fleet, model)
        if other is not None and other.id != rollout.id:
            text = f"The rollout {other.id} of {model} is live."
            raise RolloutInFlight(text, rollout=other.id, **key)


def _values(rollout: Rollout) -> dict[str, Any]:
    return rows.values_of(rollout) | {
        "models": list(rollout.models),
        "steps": [_step_document(one) for one in rollout.steps],
        "laggards": list(rollout.laggards),
    }


def _rollout(row: Mapping[str, Any]) -> Rollout:
    decoded = {
        "models": tuple(row["models"]),
        "kind": Kind(row["kind"]),
        "phase": Phase(row["phase"]),
        "steps": tuple(_step(one) for one in row["steps"]),
        "laggards": tuple(row["laggards"]),
    }
    return Rollout(**{**row, **decoded})


def _step_document(step: Step) -> dict[str, Any]:
    times = {"started_at": step.started_at, "ended_at": step.ended_at}
    plain = {"name": step.name.value, "phase": step.phase.value, "servers": list(step.servers)}
    written = {name: at and at.isoformat() for name, at in times.items()}
    return {**plain, **written, "evidence": dict(step.evidence), "spec": dict(step.spec)}


def _step(document: Mapping[str, Any]) -> Step:
    times = {name: document[name] for name in ("started_at", "ended_at")}
    return Step(
        name=StepName(document["name"]),
        phase=Phase(document["phase"]),
        servers=tuple(document["servers"]),
        evidence=document["evidence"],
        spec=document.get("spec", {}),
        **{name: at and datetime.fromisoformat(at) for name, at in times.items()},
    )


def _time(field: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise FieldInvalid(field, "this is not a page token of this list") from None
