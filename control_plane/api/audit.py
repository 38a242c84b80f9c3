"""The audit chain: who changed what; for admins."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime

from control_plane.api.deps import AdminDep, DbDep, PartsDep, json_response
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.audit import moment
from control_plane.services import audit
from control_plane.services.audit import record_json, verdict_json

router = APIRouter(tags=["audit"])
_BEYOND: Final = 2**63 - 1
TextQuery = Annotated[QueryText, Query()]


@dataclass(frozen=True, slots=True)
class Times:
    """From when and until when; None: no limit."""

    since: Annotated[AwareDatetime | None, Query()] = None
    until: Annotated[AwareDatetime | None, Query()] = None


def _wanted(
    times: Annotated[Times, Depends()],
    actor: TextQuery = "",
    token: TextQuery = "",
    address: TextQuery = "",
    request: TextQuery = "",
) -> dict[str, str]:
    found = {"actor": actor, "token": token, "address": address, "request": request}
    found["since"] = moment(times.since) if times.since else ""
    found["until"] = moment(times.until) if times.until else ""
    return {name: value for name, value in found.items() if value}


@router.get("/audit")
async def list_audit(
    db: DbDep,
    _: AdminDep,
    wanted: Annotated[dict[str, str], Depends(_wanted)],
    page_size: Annotated[int, Query(ge=1, le=500)] = 100,
    page_token: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
) -> Response:
    """List audit records, the newest first: who changed what, from where, before and after."""
    found = await audit.newest(db, wanted, int(page_token or _BEYOND), page_size)
    more = str(found[-1].seq) if len(found) == page_size else ""
    return json_response({"items": [record_json(one) for one in found], "next_page_token": more})


@router.get("/audit:verify")
async def verify_audit(db: DbDep, parts: PartsDep, _: AdminDep) -> Response:
    """Check the whole audit chain, also against this replica's anchors."""
    return json_response(verdict_json(await audit.verify(db, parts.anchored)))
