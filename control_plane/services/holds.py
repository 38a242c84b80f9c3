"""After a rollback, hold: nothing automatic promotes what was rolled back from, until resumed.

A person who promotes the version resumes it by that. Rollbacks never ask.
"""

from collections.abc import Iterable
from typing import Any

from control_plane.domain.errors import Held
from control_plane.domain.events import Event, EventKind
from control_plane.domain.steps import State
from control_plane.services.commit import Commit
from control_plane.services.transitions import Writer
from control_plane.store import catalog, fleets, holds, journal
from control_plane.store.database import Database, Session
from control_plane.store.holds import Hold


async def respect(
    s: Session, fleet: str, change: tuple[State, State], by: Writer, *, dry_run: bool
) -> None:
    """Let pass label moves that go against no hold; a person's resume what they go against.

    `change` has the deployments of the fleet before, and those after that may be others.

    Raises:
        Held: nobody but a person may do this.
    """
    head, after = change
    against: list[Hold] = []
    for model, target in after.items():
        before = head.get(model)
        old = before.labels if before else {}
        moves = {(n, v) for n, v in (target.labels if target else {}).items() if old.get(n) != v}
        if moves:
            known = await holds.of_model(s, fleet, model)
            against += [
                one for one in known if not one.resumed_at and (one.label, one.version) in moves
            ]
    if against and by.automatic:
        raise _held(against)
    for one in () if dry_run else against:
        await holds.resume(s, one, by.now, by.actor)


def _held(against: Iterable[Hold]) -> Held:
    told = [{"model": one.model, "label": one.label, "version": one.version} for one in against]
    names = ", ".join(f"{one.label} of {one.model} from version {one.version}" for one in against)
    hint = "a person promotes it, or says tfsctl resume-hold"
    return Held(f"{names}: rolled back, and held since", hint=hint, holds=told)


async def resume(
    db: Database,
    where: tuple[str, str, str],
    version: int | None,
    by: Writer,
    commit: Commit[tuple[Hold, ...]],
) -> tuple[Hold, ...]:
    """Let versions that a fleet's model's label was rolled back from be promoted by anybody.

    Without a version, all of them; returns those that were held.

    Raises:
        NotFound: no such fleet or model.
        Held: only a person may.
    """
    fleet, model, label = where
    if by.automatic:
        raise Held("only a person resumes a hold")
    async with db.begin() as s:
        await fleets.lock_fleet(s, fleet)
        await catalog.model(s, model)
        found = tuple(
            one
            for one in await holds.of_model(s, fleet, model)
            if one.label == label and not one.resumed_at and version in (None, one.version)
        )
        for one in found:
            await holds.resume(s, one, by.now, by.actor)
        await journal.append(s, *(_event(one, by) for one in found))
        await commit(s, found)
    return found


def _event(hold: Hold, by: Writer) -> Event:
    return Event(
        kind=EventKind.HOLD_RESUMED,
        at=by.now,
        actor=by.actor,
        fleet=hold.fleet,
        model=hold.model,
        reason=by.reason,
        data={"label": hold.label, "version": hold.version},
    )


async def listed(db: Database, fleet: str, model: str) -> list[dict[str, Any]]:
    """Return the holds of a deployment that nobody resumed, the newest first.

    Raises:
        NotFound: no such fleet or model.
    """
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        await catalog.model(s, model)
        return [
            hold_json(one) for one in await holds.of_model(s, fleet, model) if not one.resumed_at
        ]


def hold_json(hold: Hold) -> dict[str, Any]:
    """A hold, as the API shows it."""
    return {
        "model": hold.model,
        "label": hold.label,
        "version": hold.version,
        "since": hold.since.isoformat(),
        "actor": hold.actor,
        "reason": hold.reason,
    }
