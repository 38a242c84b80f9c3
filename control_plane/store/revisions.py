"""Revisions in the database: only what each changes is stored.

What a fleet should serve at revision n is, per model, its newest deployment with a number ≤ n.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypedDict, Unpack

from sqlalchemy import Select, bindparam, func, insert, select, update

from control_plane.domain.errors import RevisionConflict
from control_plane.domain.revision import All, Deployment, Kind, Latest, Policy, Revision, Specific
from control_plane.store import deeds, fleets, rows
from control_plane.store.database import Page, Paged, Session, cursor, key_of
from control_plane.store.tables import DeploymentRow, FleetRow, RevisionRow

_MOVED = (
    update(rows.table_of(FleetRow))
    .where(FleetRow.name == bindparam("fleet"))
    .values(head=bindparam("to"))
)
_INSERTED = insert(rows.table_of(RevisionRow))
_TOUCHED = (
    select(DeploymentRow.model, func.max(DeploymentRow.number))
    .where(
        DeploymentRow.fleet == bindparam("fleet"),
        DeploymentRow.model.in_(bindparam("models", expanding=True)),
    )
    .group_by(DeploymentRow.model)
)
_CHANGED = insert(rows.table_of(DeploymentRow))


@dataclass(frozen=True, slots=True)
class Head:
    """A deployment with the revision that last changed it."""

    deployment: Deployment
    revision: int
    created_at: datetime
    actor: str


class Change(TypedDict):
    """What `append` is told of a revision."""

    kind: Kind
    actor: str
    reason: str
    changes: Mapping[str, Deployment | None]  # None: the model is not deployed any more
    expected: Mapping[str, int]  # per changed model, the revision that last touched it; 0: none
    now: datetime


async def append(s: Session, fleet: str, **change: Unpack[Change]) -> Revision:
    """Append a revision, holding the fleet's lock to the end of the transaction.

    Changes of other models since the expected revisions do no harm.

    Raises:
        NotFound: no such fleet.
        RevisionConflict: a changed model was touched by another revision; names both.
    """
    parent = (await fleets.lock_fleet(s, fleet)).head
    await _check_expected(s, fleet, change["changes"], change["expected"])
    made = Revision(
        fleet=fleet,
        number=parent + 1,
        parent=parent,
        kind=change["kind"],
        actor=change["actor"],
        reason=change["reason"],
        created_at=change["now"],
        changes=dict(change["changes"]),
    )
    await _insert(s, made)
    return made


async def _insert(s: Session, made: Revision) -> None:
    await s.execute(_MOVED, {"fleet": made.fleet, "to": made.number})
    await s.execute(_INSERTED, rows.values_of(made, "changes"))
    if made.changes:
        each = [_deployment_values(made, model) for model in sorted(made.changes)]
        await s.execute(_CHANGED, each)
        _tell(s, made.fleet, each)


def _tell(s: Session, fleet: str, each: Sequence[Mapping[str, Any]]) -> None:
    head = deeds.seen(s, "deployments", {"fleet": fleet}) or {}
    for one in each:
        key = {"fleet": fleet, "model": one["model"]}
        if one["model"] in head and not deeds.seen(s, "deployments", key):
            deeds.saw(s, "deployments", key, head[one["model"]])
        after = {"number": one["number"], "document": one["document"]}
        deeds.changed(s, "deployments", key, after)


async def head(s: Session, fleet: str) -> Mapping[str, Head]:
    """Return what a fleet should serve now, by model."""
    return await _state(s, fleet, None)


async def state_at(s: Session, fleet: str, number: int) -> Mapping[str, Head]:
    """Return what a fleet should have served at a revision, by model."""
    return await _state(s, fleet, number)


async def head_of(s: Session, fleet: str, model: str) -> Head | None:
    """Return what a fleet should serve now of one model; None if nothing."""
    newest = _with_revisions().where(DeploymentRow.fleet == fleet, DeploymentRow.model == model)
    found = await rows.all_of(s, newest.order_by(DeploymentRow.number.desc()).limit(1))
    return next(iter(_heads(found).values()), None)


async def number_at(s: Session, fleet: str, at: datetime) -> int:
    """Return the revision that was the head at a time; 0 before the first."""
    before = (RevisionRow.fleet == fleet, RevisionRow.created_at <= at)
    return await rows.newest(s, RevisionRow.number, *before)


async def last_changed(s: Session, fleet: str, model: str) -> int:
    """Return the newest revision that touched a model, its removal included; 0: none."""
    touched = (DeploymentRow.fleet == fleet, DeploymentRow.model == model)
    return await rows.newest(s, DeploymentRow.number, *touched)


async def revision(s: Session, fleet: str, number: int) -> Revision:
    """Return a revision.

    Raises:
        NotFound: no such revision.
    """
    found = await rows.one_of(s, RevisionRow, fleet=fleet, number=number)
    return (await _revisions(s, fleet, [found]))[0]


async def revisions(
    s: Session,
    fleet: str,
    page: Page = Page(),  # noqa: B008
    model: str = "",
) -> Paged[Revision]:
    """Return a fleet's revisions, or those that touched a model, the newest first."""
    statement = rows.columns_of(RevisionRow).where(RevisionRow.fleet == fleet)
    if model:
        touched = (DeploymentRow.fleet == fleet, DeploymentRow.model == model)
        statement = statement.where(
            RevisionRow.number.in_(select(DeploymentRow.number).where(*touched))
        )
    if key := key_of(page.after, int):
        statement = statement.where(RevisionRow.number < key[0])
    statement = statement.order_by(RevisionRow.number.desc()).limit(page.size + 1)
    found = await rows.all_of(s, statement)
    items = await _revisions(s, fleet, found[: page.size])
    return Paged(items, cursor(items[-1].number) if len(found) > page.size else "")


async def _check_expected(
    s: Session,
    fleet: str,
    changes: Mapping[str, Deployment | None],
    expected: Mapping[str, int],
) -> None:
    newest = await s.execute(_TOUCHED, {"fleet": fleet, "models": sorted(changes)})
    actual = {name: int(number) for name, number in newest}
    for model in sorted(changes):
        if actual.get(model, 0) != expected.get(model, 0):
            raise await _conflict(s, fleet, model, expected.get(model, 0), actual.get(model, 0))


async def _conflict(
    s: Session, fleet: str, model: str, expected: int, actual: int
) -> RevisionConflict:
    key = {"fleet": fleet, "number": actual}
    found = await rows.maybe_one(s, RevisionRow, **key)
    by = f" ({found['kind']} by {found['actor']})" if found else ""
    text = f"{model} was last changed by revision {actual}{by}, not by revision {expected}."
    return RevisionConflict(text, fleet=fleet, model=model, expected=expected, actual=actual)


def _with_revisions() -> Any:
    deployments, made = rows.table_of(DeploymentRow), rows.table_of(RevisionRow)
    same = (deployments.c.fleet == made.c.fleet) & (deployments.c.number == made.c.number)
    return select(deployments, made.c.created_at, made.c.actor).join(made, same)


async def _state(s: Session, fleet: str, number: int | None) -> Mapping[str, Head]:
    asked = {"fleet": fleet} | ({} if number is None else {"number": number})
    found = (await s.execute(_newest(number is None), asked)).mappings().all()
    if number is None:
        deeds.saw(s, "deployments", {"fleet": fleet}, {one["model"]: one for one in found})
    return _heads(found)


@cache
def _newest(of_all: bool) -> Select[Any]:
    fleet = DeploymentRow.fleet == bindparam("fleet")
    newest = select(DeploymentRow.model, func.max(DeploymentRow.number).label("number"))
    newest = newest.where(fleet)
    if not of_all:
        newest = newest.where(DeploymentRow.number <= bindparam("number"))
    each = newest.group_by(DeploymentRow.model).subquery()
    same = (each.c.model == DeploymentRow.model) & (each.c.number == DeploymentRow.number)
    statement: Select[Any] = _with_revisions().join(each, same)
    return statement.where(fleet).order_by(DeploymentRow.model)


def _heads(found: Sequence[Mapping[str, Any]]) -> dict[str, Head]:
    return {
        one["model"]: Head(
            _deployment(one["model"], one["document"]),
            one["number"],
            one["created_at"],
            one["actor"],
        )
        for one in found
        if one["document"] is not None
    }


async def _revisions(
    s: Session, fleet: str, found: Sequence[Mapping[str, Any]]
) -> tuple[Revision, ...]:
    numbers = [one["number"] for one in found]
    changed = rows.columns_of(DeploymentRow).where(
        DeploymentRow.fleet == fleet, DeploymentRow.number.in_(numbers)
    )
    changes: dict[int, dict[str, Deployment | None]] = {number: {} for number in numbers}
    for one in await rows.all_of(s, changed.order_by(DeploymentRow.model)):
        document = one["document"]
        changes[one["number"]][one["model"]] = document and _deployment(one["model"], document)
    return tuple(_revision(one, changes[one["number"]]) for one in found)


def _revision(row: Mapping[str, Any], changes: Mapping[str, Deployment | None]) -> Revision:
    return Revision(**{**row, "kind": Kind(row["kind"]), "changes": changes})


def _deployment_values(made: Revision, model: str) -> dict[str, Any]:
    deployment = made.changes[model]
    document = None if deployment is None else _document(deployment)
    return {"fleet": made.fleet, "model": model, "number": made.number, "document": document}


def _document(deployment: Deployment) -> dict[str, Any]:
    return {
        "versions": sorted(deployment.versions),
        "labels": dict(deployment.labels),
        "policy": _policy_document(deployment.policy),
        "keep_previous": deployment.keep_previous,
    }


def _deployment(model: str, document: Mapping[str, Any]) -> Deployment:
    return Deployment(
        model=model,
        versions=frozenset(document["versions"]),
        labels=document["labels"],
        policy=_policy(document["policy"]),
        keep_previous=document["keep_previous"],
    )


def _policy_document(policy: Policy) -> dict[str, Any]:
    match policy:
        case Specific():
            return {"kind": "specific"}
        case Latest(n, auto_load):
            return {"kind": "latest", "n": n, "auto_load": auto_load}
        case All(auto_load):
            return {"kind": "all", "auto_load": auto_load}


def _policy(document: Mapping[str, Any]) -> Policy:
    match document:
        case {"kind": "latest", "n": n, "auto_load": auto_load}:
            return Latest(n, auto_load)
        case {"kind": "all", "auto_load": auto_load}:
            return All(auto_load)
        case _:
            return Specific()
