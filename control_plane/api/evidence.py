"""What happened: the evidence of a rollout, and which version answered a label at a time."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import AwareDatetime

from control_plane.api.deps import DbDep, RunningDep, ViewerDep, json_response, list_response
from control_plane.api.parts import Running
from control_plane.api.schemas import FleetPath, LabelPath, ModelPath, RolloutPath
from control_plane.services import timeline
from control_plane.services.evidence import evidence

router = APIRouter(tags=["evidence"])
AcceptDep = Annotated[str, Header(alias="Accept")]
PLAN_S: Final = 3.0  # for so long, whoever asks at once waits for the plan to be worked out
_LOOK_S: Final = 0.1
_SAFE: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/rollouts/{id}:evidence")
async def get_evidence(
    rollout_id: RolloutPath, running: RunningDep, _: ViewerDep, accept: AcceptDep = "*/*"
) -> Response:
    """Show all that is known of a rollout, with a hash; one HTML file for `Accept: text/html`."""
    document = await _with_plan(running, rollout_id)
    named = {"ETag": f'"{document["sha256"]}"', "Vary": "Accept"}
    if "text/html" in accept:
        from control_plane.services.evidence_page import evidence_page  # 4 MB that few ask for

        return HTMLResponse(evidence_page(document), headers=named | _SAFE)
    return json_response(document, headers=named)


async def _with_plan(running: Running, rollout_id: str) -> dict[str, Any]:
    """The plan of a rollout that has just begun is still being worked out."""
    while True:
        document = await evidence(running.parts.db, rollout_id)
        rollout = document["rollout"]
        begun = datetime.fromisoformat(rollout["created_at"])
        nowhere = document["complete"] and not any(one["servers"] for one in rollout["steps"])
        if document["plan"] or nowhere or running.parts.clock() > begun + timedelta(seconds=PLAN_S):
            return document
        await asyncio.sleep(_LOOK_S)


@router.get("/fleets/{fleet}/models/{model}/labels/{label}/history")
async def get_label_history(
    fleet: FleetPath,
    model: ModelPath,
    label: LabelPath,
    db: DbDep,
    _: ViewerDep,
    at: Annotated[AwareDatetime | None, Query()] = None,
) -> Response:
    """List which versions answered a label, where, when, and who moved it; or only at a time."""
    items = await timeline.answered(db, (fleet, model, label), at)
    return list_response(items)
