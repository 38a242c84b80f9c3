"""The plan that a rollout began with, kept as evidence.

Foretelling reloads takes longer than the write that starts a rollout may, so its plan is worked out
beside: from what was observed of the servers when the loop took the rollout up, before anything of
it was sent, and from revisions, strategy and catalog, which do not change. `made_at` is that
moment. Where a person agreed to a plan by its hash, it was worked out in the write itself, and that
one is kept. Configs are left out; their diffs and digests stay.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from control_plane.domain.errors import PlanChanged
from control_plane.domain.events import Event, EventKind
from control_plane.domain.rollout import Rollout
from control_plane.domain.steps import State, covered, started
from control_plane.failpoints import failpoint
from control_plane.services.changes import Plan, Planned
from control_plane.services.plan_view import plan_json
from control_plane.services.plans import Asked, forecast
from control_plane.services.strategies import find_edit
from control_plane.services.unlabelled import callers_of, callers_told
from control_plane.store import journal
from control_plane.store import plans as store
from control_plane.store.database import Database, Session
from control_plane.store.plans import KeptPlan


async def keep(db: Database, asked: Asked, made_at: datetime) -> None:
    """Work out and store the plan of a rollout as things stood then, unless one is kept.

    Raises:
        NotFound: something of it was deleted meanwhile.
    """
    rollout, before, after = asked.journey
    await failpoint("evidence.begun")
    async with db.read() as s:
        if await store.plan_of(s, rollout.id) is not None:
            return
        begun = _begun(rollout, asked.servers)
        told = await forecast(s, replace(asked, journey=(begun, before, after), at=made_at))
        plan = Planned(await _plan(s, rollout, (before, after), asked.servers), told)
    await failpoint("evidence.planned")
    async with db.begin() as s:
        await store.keep(s, KeptPlan(rollout.id, made_at, kept_json(plan_json(plan))))
    await failpoint("evidence.kept")


def kept_json(plan: Mapping[str, Any], *, agreed: bool = False) -> dict[str, Any]:
    """Return a plan without whole configs, which say again what their diffs say."""
    reloads = [
        {name: value for name, value in one.items() if name != "config"} for one in plan["reloads"]
    ]
    return {**plan, "reloads": reloads, "agreed": agreed}


def agreed_to(plan_hash: str) -> Callable[[Planned], Mapping[str, Any]]:
    """Return what lets pass the one plan that somebody has seen, and says what to keep of it.

    What is returned raises `PlanChanged`, with the plan as it is now.
    """

    def check(planned: Planned) -> Mapping[str, Any]:
        plan = plan_json(planned)
        if plan["plan_hash"] != plan_hash:
            raise PlanChanged(plan=plan)
        return kept_json(plan, agreed=True)

    return check


def _begun(rollout: Rollout, servers: tuple[str, ...]) -> Rollout:
    """The rollout with its step under way; hooks may have held it back."""
    if rollout.step is None or rollout.step.begun:
        return rollout
    return started(rollout, covered(rollout, servers), rollout.created_at)


async def _plan(
    s: Session, rollout: Rollout, around: tuple[State, State], servers: tuple[str, ...]
) -> Plan:
    before, after = around
    said = (await _start_of(s, rollout)).data
    callers = callers_of(before, after)
    return Plan(
        fleet=rollout.fleet,
        kind=rollout.kind,
        from_revision=rollout.from_revision,
        to_revision=rollout.to_revision,
        before=before,
        after=after,
        strategy=await find_edit(s, rollout.strategy, rollout.strategy_number),
        steps=rollout.steps,
        servers=servers,
        supersedes=tuple(said.get("supersedes", ())),
        unlabelled=callers,
        warnings=tuple(said.get("warnings", callers_told(callers))),
    )


async def _start_of(s: Session, rollout: Rollout) -> Event:
    told = await journal.of_rollout(s, rollout.fleet, rollout.id)
    return next(one for one in told if one.kind is EventKind.ROLLOUT_STARTED)
