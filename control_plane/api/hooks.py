"""Hooks: what is run at the moments of rollouts, and what came of it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field, StringConstraints

from control_plane.api.deps import (
    AdminWriteDep,
    Answer,
    DbDep,
    ViewerDep,
    json_response,
    list_response,
)
from control_plane.api.schemas import Body, Finite, Name, Short
from control_plane.api.schemas import Query as QueryText
from control_plane.domain.events import EventKind
from control_plane.domain.hook import Moment, OnFailure, Saved, Scope
from control_plane.domain.hook_document import MOST_RETRIES, MOST_TIMEOUT_S, check
from control_plane.services import hooks
from control_plane.services.hooks import hook_json, run_json

router = APIRouter(prefix="/hooks", tags=["hooks"])
HookPath = Annotated[Name, Path(alias="name")]
HeaderValue = Annotated[str, StringConstraints(max_length=4_096)]


class HookHttp(Body):
    """A request to send."""

    url: Annotated[str, StringConstraints(max_length=2_048)]
    method: Literal["POST", "PUT", "GET"] = "POST"
    headers: Annotated[dict[Short, HeaderValue], Field(max_length=32, default_factory=dict)]


class HookFailIf(Body):
    """What makes a 2xx a failure: a header or a field of the JSON body, there or compared."""

    header: Short | None = None
    json_path: Annotated[Short | None, Field(alias="json")] = None
    equals: Any = None
    not_equals: Any = None


class HookCreate(Body):
    """A new hook: exactly one of http, command, builtin."""

    name: Name
    fleet: Name = "default"
    model: Name | Literal[""] = ""
    moment: Moment
    http: HookHttp | None = None
    command: Name | None = None
    builtin: Literal["warm_up"] | None = None
    scope: Scope | None = None
    order: Annotated[int, Field(strict=True, ge=-1_000, le=1_000)] = 0
    timeout_s: Annotated[Finite, Field(gt=0, le=MOST_TIMEOUT_S)] = 10.0
    retries: Annotated[int, Field(strict=True, ge=0, le=MOST_RETRIES)] = 2
    on_failure: OnFailure | None = None
    fail_if: HookFailIf | None = None
    events: Annotated[list[EventKind], Field(max_length=64)] | None = None

    def document(self) -> dict[str, Any]:
        """What was given, as the domain reads it."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None}


@router.post("", status_code=201)
async def create_hook(body: HookCreate, write: AdminWriteDep) -> Response:
    """Create a hook for rollouts and events that come after it."""
    hook = check(body.document())

    def made(saved: Saved) -> Answer:
        return Answer(201, hook_json(saved), {"Location": f"/api/v1/hooks/{saved.hook.name}"})

    return await write.respond(
        lambda commit: hooks.create(
            write.db, hook, actor=write.actor.name, now=write.now, commit=commit
        ),
        made,
    )


@router.get("")
async def list_hooks(
    db: DbDep, _: ViewerDep, fleet: Annotated[QueryText, Query()] = ""
) -> Response:
    """List hooks by name."""
    return list_response(map(hook_json, await hooks.listed(db, fleet)))


@router.get("/{name}")
async def get_hook(name: HookPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a hook."""
    return json_response(hook_json(await hooks.show(db, name)))


@router.delete("/{name}", status_code=200)
async def delete_hook(name: HookPath, write: AdminWriteDep) -> Response:
    """Delete a hook; what waits for it goes on without it."""
    return await write.respond(
        lambda commit: hooks.delete(
            write.db, name, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda saved: Answer(200, hook_json(saved)),
    )


@router.get("/{name}/runs")
async def list_runs(name: HookPath, db: DbDep, _: ViewerDep) -> Response:
    """List the newest runs of a hook, of deleted ones too."""
    return list_response(map(run_json, await hooks.runs_by(db, name)))
