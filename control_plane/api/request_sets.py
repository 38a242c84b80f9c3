"""Request sets of models: recorded requests that replay gates send."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response

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
)
from control_plane.api.schemas import ModelPath
from control_plane.domain.request_set import SET_NAME_PATTERN
from control_plane.services import request_sets
from control_plane.services.request_sets import request_set_json

router = APIRouter(prefix="/models/{model}/request-sets", tags=["models"])
SetPath = Annotated[str, Path(alias="name", pattern=SET_NAME_PATTERN)]
_ANY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "TFRecord of PredictionLog, or on each line a JSON predict body.",
        "required": True,
        "content": {"application/octet-stream": _ANY, "application/x-ndjson": _ANY},
    }
}


async def _content(request: Request) -> bytes:
    return await request.body()


ContentDep = Annotated[bytes, Depends(_content)]


@router.post("/{name}", status_code=201, openapi_extra=_UPLOAD)
async def add_request_set(
    model: ModelPath, name: SetPath, content: ContentDep, write: WriteDep
) -> Response:
    """Upload recorded requests: a TFRecord file of PredictionLog, or JSON, one request per line."""
    return await write.respond(
        lambda commit: request_sets.add(
            write.db, (model, name), content, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda made: Answer(
            201,
            request_set_json(made),
            {"Location": f"/api/v1/models/{made.model}/request-sets/{made.name}"},
        ),
    )


@router.get("")
async def list_request_sets(model: ModelPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List a model's request sets by name."""
    found = await request_sets.listed(db, model, page)
    return list_response(map(request_set_json, found.items), found.next)


@router.get("/{name}")
async def get_request_set(model: ModelPath, name: SetPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a request set, without its requests."""
    return json_response(request_set_json(await request_sets.show(db, model, name)))


@router.delete("/{name}", status_code=204)
async def delete_request_set(model: ModelPath, name: SetPath, write: AdminWriteDep) -> Response:
    """Delete a request set; a gate that names it fails from then on."""
    return await write.respond(
        lambda commit: request_sets.delete(
            write.db, (model, name), actor=write.actor.name, now=write.now, commit=commit
        ),
        gone,
    )
