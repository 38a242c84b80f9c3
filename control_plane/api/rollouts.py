"""Rollouts and revisions: look at them, steer them, go back to a whole state."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from control_plane.api.deps import (
    Answer,
    DbDep,
    PageDep,
    ViewerDep,
    WriteDep,
    etag,
    json_response,
    list_response,
)
from control_plane.api.outcomes import call_of, carried_out, held
from control_plane.api.schemas import (
    FleetPath,
    ModelPath,
    RestoreRequest,
    RevisionPath,
    RolloutPath,
    Steering,
)
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.rollout import Phase, Rollout
from control_plane.services import deployments, guards, hooks, rollouts, timeline
from control_plane.services.hooks import run_json
from control_plane.services.rollout_view import revision_json, rollout_json

router = APIRouter(tags=["rollouts"])
_GOES_ON = (rollouts.Verb.RETRY, rollouts.Verb.RESUME, rollouts.Verb.PROMOTE_NOW)
TextQuery = Annotated[QueryText, Query()]


@router.get("/rollouts")
async def list_rollouts(
    db: DbDep,
    page: PageDep,
    _: ViewerDep,
    fleet: TextQuery = "",
    model: TextQuery = "",
    phase: Phase | None = None,
) -> Response:
    """List rollouts, the newest first."""
    found = await rollouts.listed(db, page, fleet=fleet, model=model, phase=phase or "")
    return list_response(map(rollout_json, found.items), found.next)


@router.get("/rollouts/{id}")
async def get_rollout(rollout_id: RolloutPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a rollout and the runs of its hooks."""
    rollout = await rollouts.show(db, rollout_id)
    runs = await hooks.runs_of(db, rollout_id)
    told = rollout_json(rollout) | {"hooks": [run_json(one) for one in runs]}
    return json_response(told, headers=etag(rollout.rv))


@router.post("/rollouts/{id}:{verb}")
async def steer_rollout(
    rollout_id: RolloutPath, verb: rollouts.Verb, write: WriteDep, body: Steering | None = None
) -> Response:
    """Pause, resume, abort, retry, approve, reject or hurry a rollout."""
    told = body or Steering()
    call = replace(call_of(write, told.reason), break_glass=told.break_glass)

    def steered(rollout: Rollout) -> Answer:
        begun = verb in _GOES_ON and rollout.phase.live
        place = {"Location": f"/api/v1/rollouts/{rollout.id}"}
        told = {"changed": True, "rollout": rollout_json(rollout)}
        return Answer(202 if begun else 200, told, etag(rollout.rv) | place)

    answer = await write.rehearse(
        lambda commit: rollouts.steer(write.db, rollout_id, verb, call, commit), steered
    )
    if not write.dry_run:
        write.running.parts.reconciler.nudge(answer.body["rollout"]["fleet"])
    return (await held(write, answer)).response()


@router.get("/fleets/{fleet}/revisions")
async def list_revisions(fleet: FleetPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List a fleet's revisions, the newest first."""
    found = await timeline.revisions(db, fleet, page)
    return list_response(map(revision_json, found.items), found.next)


@router.get("/fleets/{fleet}/deployments/{model}/revisions")
async def list_deployment_revisions(
    fleet: FleetPath, model: ModelPath, db: DbDep, page: PageDep, _: ViewerDep
) -> Response:
    """List the revisions that changed a deployment, the newest first."""
    found = await timeline.revisions(db, fleet, page, model)
    return list_response(map(revision_json, found.items), found.next)


@router.get("/fleets/{fleet}/revisions/{number}")
async def get_revision(fleet: FleetPath, number: RevisionPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a revision."""
    return json_response(revision_json(await timeline.revision(db, fleet, number)))


@router.post("/fleets/{fleet}/revisions/{number}:restore", status_code=202)
async def restore(
    fleet: FleetPath, number: RevisionPath, write: WriteDep, body: RestoreRequest | None = None
) -> Response:
    """Copy a fleet's whole state from an older revision."""
    asked = body or RestoreRequest()
    request = deployments.RestoreRequest(prune=asked.prune, force=asked.force)
    if not asked.force:
        await guards.refuse_changed_files(write.db, fleet, number)
    call = call_of(write, asked.reason, asked.plan_hash)
    return await carried_out(
        write,
        fleet,
        lambda commit: deployments.restore(write.db, fleet, number, request, call, commit),
    )


@router.get("/fleets/{fleet}/state")
async def get_state(
    fleet: FleetPath, db: DbDep, _: ViewerDep, at: Annotated[AwareDatetime | None, Query()] = None
) -> Response:
    """Show what a fleet should have served at a time; now, if none is given."""
    return json_response(await timeline.state(db, fleet, at))
