"""Models, their versions and signatures."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    DbDep,
    PageDep,
    ViewerDep,
    WriteDep,
    gone,
    json_response,
    list_response,
    shown,
)
from control_plane.api.schemas import (
    ModelChange,
    ModelCreate,
    ModelPath,
    VersionChange,
    VersionCreate,
    VersionPath,
    VersionText,
)
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.catalog import Model, Version
from control_plane.domain.events import EventKind
from control_plane.services import catalog, policies
from control_plane.services.model_view import model_json

router = APIRouter(tags=["models"])


@router.post("/models", status_code=201)
async def create_model(body: ModelCreate, write: WriteDep) -> Response:
    """Create a model; its base path is fixed from here on."""
    model = Model(
        name=body.name,
        base_path=body.base_path,
        created_at=write.now,
        created_by=write.actor.name,
        description=body.description,
        owner=body.owner,
        tags=body.tags,
    )
    return await write.respond(
        lambda commit: catalog.create_model(write.db, model, force=body.force, commit=commit),
        lambda made: shown(model_json(made), made.rv, f"models/{made.name}"),
    )


@router.get("/models")
async def list_models(
    db: DbDep, page: PageDep, _: ViewerDep, q: Annotated[QueryText, Query()] = ""
) -> Response:
    """List models whose name or description holds `q`."""
    found = await catalog.models(db, q, page)
    return list_response(map(model_json, found.items), found.next)


@router.get("/models/{model}")
async def get_model(name: ModelPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a model."""
    model = await catalog.model(db, name)
    return shown(model_json(model), model.rv).response()


@router.patch("/models/{model}")
async def change_model(name: ModelPath, body: ModelChange, write: WriteDep) -> Response:
    """Change words about a model."""
    changes = body.model_dump(exclude_none=True)
    return await write.respond(
        write.matched(catalog.change_model, EventKind.MODEL_CHANGED, name, changes),
        lambda saved: shown(model_json(saved), saved.rv),
    )


@router.delete("/models/{model}", status_code=204)
async def delete_model(name: ModelPath, write: AdminWriteDep) -> Response:
    """Delete a model that no fleet serves, and its versions."""
    return await write.respond(
        write.matched(catalog.delete_model, EventKind.MODEL_DELETED, name),
        gone,
    )


@router.post("/models/{model}/versions:scan")
async def scan_versions(name: ModelPath, write: WriteDep) -> Response:
    """Register every version that lies under the model's base path."""
    answer = await write.rehearse(
        lambda commit: catalog.scan(
            write.db, name, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda found: Answer(
            200,
            {
                "added": list(found.added),
                "known": list(found.known),
                "unreadable": [
                    {"name": one, "version": _number(one), "fault": fault}
                    for one, fault in sorted(found.unreadable.items())
                ],
            },
        ),
    )
    if not write.dry_run:
        for fleet in await policies.follow(write.db, name, write.now, write.running.parts.new_id):
            write.running.parts.reconciler.nudge(fleet)
    return answer.response()


@router.post("/models/{model}/versions", status_code=201)
async def register_version(name: ModelPath, body: VersionCreate, write: WriteDep) -> Response:
    """Register a version whose files are there."""
    version = Version(
        model=name,
        number=body.version,
        created_at=write.now,
        created_by=write.actor.name,
        description=body.description,
        tags=body.tags,
        metrics=body.metrics,
        source=body.source,
    )
    place = f"models/{name}/versions/{body.version}"
    return await write.respond(
        lambda commit: catalog.register(write.db, version, force=body.force, commit=commit),
        lambda made: shown(version_json(made), made.rv, place),
    )


@router.get("/models/{model}/versions")
async def list_versions(name: ModelPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List a model's versions, the highest first."""
    found = await catalog.versions(db, name, page)
    return list_response(map(version_json, found.items), found.next)


@router.get("/models/{model}/versions/{version}")
async def get_version(name: ModelPath, number: VersionPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a version."""
    version = await catalog.version(db, name, number)
    return shown(version_json(version), version.rv).response()


@router.patch("/models/{model}/versions/{version}")
async def change_version(
    name: ModelPath, number: VersionPath, body: VersionChange, write: WriteDep
) -> Response:
    """Change words about a version."""
    changes = body.model_dump(exclude_none=True)
    return await write.respond(
        write.matched(catalog.change_version, EventKind.VERSION_CHANGED, (name, number), changes),
        lambda saved: shown(version_json(saved), saved.rv),
    )


@router.delete("/models/{model}/versions/{version}", status_code=204)
async def delete_version(name: ModelPath, number: VersionPath, write: AdminWriteDep) -> Response:
    """Forget a version that nothing serves; its files stay."""
    return await write.respond(
        write.matched(catalog.delete_version, EventKind.VERSION_DELETED, (name, number)),
        gone,
    )


@router.get("/models/{model}/versions/{version}/signatures")
async def get_signatures(name: ModelPath, number: VersionPath, db: DbDep, _: ViewerDep) -> Response:
    """Show what a version takes and gives back."""
    version = await catalog.version(db, name, number)
    return json_response(dict(version.signatures))


@router.get("/models/{model}/versions/{version}/signatures:diff")
async def diff_signatures(
    name: ModelPath,
    number: VersionPath,
    db: DbDep,
    _: ViewerDep,
    against: Annotated[VersionText, Query()],
) -> Response:
    """Say what callers of `against` would notice if this version took its place."""
    verdict = await catalog.diff(db, name, before=against, after=number)
    changes = [
        {
            "kind": one.kind,
            "where": one.where,
            "before": one.before,
            "after": one.after,
            "breaking": one.breaking,
        }
        for one in verdict.changes
    ]
    return json_response({"verdict": verdict.verdict, "changes": changes, "text": verdict.text})


@router.get("/models/{model}/versions/{version}/signatures:sample")
async def sample_request(
    name: ModelPath,
    number: VersionPath,
    db: DbDep,
    _: ViewerDep,
    signature: Annotated[QueryText, Query()] = "serving_default",
) -> Response:
    """Make a valid `:predict` body."""
    return json_response(await catalog.sample(db, name, number, signature))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def version_json(version: Version) -> dict[str, Any]:
    """A version, as the API shows it; `digest` is "pending" until its files were hashed."""
    return {
        "model": version.model,
        "version": version.number,
        "status": "broken" if version.fault else "complete",
        "fault": version.fault,
        "size_bytes": version.size_bytes,
        "digest": version.digest or "pending",
        "fingerprint": version.fingerprint,
        "signatures": sorted(version.signatures),
        "description": version.description,
        "tags": dict(version.tags),
        "metrics": dict(version.metrics),
        "source": version.source,
        "created_at": version.created_at.isoformat(),
        "created_by": version.created_by,
    }
