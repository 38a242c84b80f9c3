"""What happened: the evidence of a rollout, and which version answered a label at a time."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import AwareDatetime

from control_plane.api.deps import DbDep, ViewerDep, json_response
from control_plane.api.evidence_page import evidence_page
from control_plane.api.schemas import FleetPath, LabelPath, ModelPath, RolloutPath
from control_plane.services import timeline
from control_plane.services.evidence import evidence

router = APIRouter(tags=["evidence"])
AcceptDep = Annotated[str, Header(alias="Accept")]
_SAFE: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.get("/rollouts/{id}:evidence")
async def get_evidence(
    rollout_id: RolloutPath, db: DbDep, _: ViewerDep, accept: AcceptDep = "*/*"
) -> Response:
    """Show all that is known of a rollout, with a hash; one HTML file for `Accept: text/html`."""
    document = await evidence(db, rollout_id)
    named = {"ETag": f'"{document["sha256"]}"', "Vary": "Accept"}
    if "text/html" in accept:
        return HTMLResponse(evidence_page(document), headers=named | _SAFE)
    return json_response(document, headers=named)


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
    return json_response({"items": items, "next_page_token": ""})
