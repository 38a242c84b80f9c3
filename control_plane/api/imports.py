"""Import: what servers run already becomes what their fleet serves; nothing is pushed by that."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Response

from control_plane.api.deps import Answer, WriteDep
from control_plane.api.schemas import FleetImport, FleetPath
from control_plane.domain.catalog import Version
from control_plane.domain.importing import FirstPlan
from control_plane.services import imports
from control_plane.services.changes import Call
from control_plane.services.imports import Imported, ImportRequest

router = APIRouter(tags=["fleets"])


@router.post("/fleets/{fleet}:import")
async def import_config(fleet: FleetPath, body: FleetImport, write: WriteDep) -> Response:
    """Take what a `models.config` lists, as servers show it, for what the fleet serves."""
    request = ImportRequest(body.config, frozenset(body.labels), body.server, body.force)
    parts = write.running.parts
    call = Call(write.actor.name, write.now, new_id="", reason=body.reason)
    return await write.respond(
        lambda commit: imports.import_config(
            write.db, fleet, request, connect=parts.connect, call=call, commit=commit
        ),
        lambda done: Answer(200, imported_json(done)),
        nudge=fleet,
    )


def imported_json(done: Imported) -> dict[str, Any]:
    """What an import did, as the API shows it."""
    return {
        "changed": done.revision is not None,
        "revision": done.revision.number if done.revision else None,
        "deployments": [
            {
                "model": name,
                "base_path": done.base_paths[name],
                "versions": sorted(one.versions),
                "labels": dict(one.labels),
            }
            for name, one in sorted(done.found.deployments.items())
        ],
        "registered": {
            "models": [one.name for one in done.registered.models],
            "versions": _numbers(done.registered.versions),
        },
        "servers": [_plan_json(name, one) for name, one in sorted(done.plans.items())],
        "warnings": list(done.found.warnings),
    }


def _numbers(versions: Iterable[Version]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in versions:
        found.setdefault(one.model, []).append(one.number)
    return found


def _plan_json(server: str, plan: FirstPlan) -> dict[str, Any]:
    return {"server": server, "first": plan.sentence, "only_markers": plan.only_markers}
