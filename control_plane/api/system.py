"""What watches the process: is it alive, is it ready, what does it count."""

import asyncio
from contextlib import suppress
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from control_plane.api import problems
from control_plane.api.deps import AdminDep, PartsDep, RunningDep, json_response
from control_plane.api.parts import Running
from control_plane.domain.errors import (
    ControlPlaneError,
    NotAuthenticated,
    NotFound,
    Starting,
    Transient,
)
from control_plane.services import ending, readiness
from control_plane.services.access import KEY_HOLDER, is_same

router = APIRouter(tags=["system"])
admin_router = APIRouter(tags=["system"])
_READY_S: Final = 2.0
log = structlog.get_logger()


@router.get("/livez")
async def livez(parts: PartsDep) -> Response:
    """Say that the process runs and its loop comes round, whatever the database does."""
    turns = parts.turns()
    return json_response({"status": "ok" if turns else "stuck"}, 200 if turns else 503)


@router.get("/readyz")
async def readyz(
    running: RunningDep, verbose: Annotated[str | None, Query(max_length=16)] = None
) -> Response:
    """Say whether requests are welcome: database, schema and leases are known, and we stay.

    Degraded, by a disk that is full, it answers readers and callers as well as ever.
    """
    checks = await _checks(running)
    ready = all(text.startswith(("ok", "degraded")) for text in checks.values())
    well = all(text.startswith("ok") for text in checks.values())
    status = "ready" if well else "degraded" if ready else "not ready"
    body: dict[str, object] = {"status": status}
    if verbose is not None:
        body["checks"] = checks
    return json_response(body, 200 if ready else 503)


@router.get("/metrics")
async def metrics(parts: PartsDep) -> Response:
    """Prometheus's text."""
    return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/version")
async def version(parts: PartsDep) -> Response:
    """Say which program this is."""
    return json_response({"version": parts.version, "api": "v1"})


@router.get("/problems/{code}")
async def explain(code: str) -> Response:
    """Explain a problem's `type`."""
    found = problems.explained().get(code)
    if found is None:
        raise NotFound(f"there is no problem {code[:80]}")
    return json_response(found)


@admin_router.post("/admin:shutdown", status_code=202)
async def shut_down(
    request: Request,
    parts: PartsDep,
    actor: AdminDep,
    x_shutdown_key: Annotated[str, Header(max_length=512)] = "",
) -> Response:
    """End this replica, where that is enabled: the key is the bearer, or in X-Shutdown-Key."""
    wanted = parts.options.shutdown_key
    if not wanted:
        raise HTTPException(404)
    if actor is not KEY_HOLDER and not is_same(x_shutdown_key, wanted):
        raise NotAuthenticated("this needs the key that this process was given for it")
    if not parts.started():
        raise Starting
    client = request.client.host if request.client else ""
    log.warning("told to end", actor=actor.name, client=client)
    with suppress(Transient):  # a database that is away keeps nobody from ending
        await ending.requested(parts.db, actor=actor.name, client=client, now=parts.clock())
    parts.shut_down()
    return json_response({"status": "ending"}, 202)


async def _checks(running: Running) -> dict[str, str]:
    checks = {"database": "ok", "migrations": "not known", **running.parts.health()}
    if running.feed.closed:
        checks["process"] = "shutting down"
    try:
        async with asyncio.timeout(_READY_S):
            checks["migrations"] = await readiness.database(running.parts.db)
    except TimeoutError:
        checks["database"] = f"no answer within {_READY_S:g} s"
    except ControlPlaneError as error:
        checks["database"] = error.message
    return checks
