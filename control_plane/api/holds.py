"""Holds: versions that were rolled back from, which nothing automatic promotes."""

from typing import Any

from fastapi import APIRouter, Response

from control_plane.api.deps import Answer, DbDep, ViewerDep, WriteDep, json_response
from control_plane.api.outcomes import call_of
from control_plane.api.schemas import Body, FleetPath, LabelName, ModelPath, Reason, VersionNumber
from control_plane.services import holds
from control_plane.services.holds import hold_json

router = APIRouter(prefix="/fleets/{fleet}/deployments", tags=["holds"])


class ResumeHold(Body):
    """What to let be promoted by anybody; without a version, all that the label was held from."""

    label: LabelName = "stable"
    version: VersionNumber | None = None
    reason: Reason = ""


@router.get("/{model}/holds")
async def list_holds(fleet: FleetPath, model: ModelPath, db: DbDep, _: ViewerDep) -> Response:
    """List the versions that only a person may promote, as they were rolled back from."""
    return json_response({"items": await holds.listed(db, fleet, model), "next_page_token": ""})


@router.post("/{model}:resume-hold")
async def resume_hold(
    fleet: FleetPath, model: ModelPath, write: WriteDep, body: ResumeHold | None = None
) -> Response:
    """Let policies and service tokens promote what was rolled back from."""
    asked = body or ResumeHold()
    where, by = (fleet, model, asked.label), call_of(write, asked.reason).writer

    def resumed(found: tuple[Any, ...]) -> Answer:
        items = [hold_json(one) for one in found]
        return Answer(200, {"changed": bool(found), "resumed": items})

    return await write.respond(
        lambda commit: holds.resume(write.db, where, asked.version, by, commit), resumed
    )
