"""What watches the process: is it alive, is it ready, what does it count."""

import asyncio
import hmac
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from control_plane.api import problems
from control_plane.api.deps import AdminDep, PartsDep, RunningDep, json_response
from control_plane.api.parts import Running
from control_plane.domain.errors import ControlPlaneError, Denied, NotFound
from control_plane.services import history

router = APIRouter(tags=["system"])
admin_router = APIRouter(tags=["system"])
_READY_S: Final = 2.0


@router.get("/livez")
async def livez() -> Response:
    """Say that the process runs; nothing else is asked."""
    return json_response({"status": "ok"})


@router.get("/readyz")
async def readyz(
    running: RunningDep, verbose: Annotated[str | None, Query(max_length=16)] = None
) -> Response:
    """Say whether requests are welcome: the database answers and we are not going away."""
    checks = await _checks(running)
    ready = all(text == "ok" for text in checks.values())
    body: dict[str, object] = {"status": "ready" if ready else "not ready"}
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
    parts: PartsDep, _: AdminDep, x_shutdown_key: Annotated[str, Header(max_length=512)] = ""
) -> Response:
    """End the process, where that is enabled."""
    wanted = parts.options.shutdown_key
    if not wanted:
        raise HTTPException(404)
    if not hmac.compare_digest(x_shutdown_key.encode(), wanted.encode()):
        raise Denied("X-Shutdown-Key is not the key that this process was given")
    parts.shut_down()
    return json_response({"status": "ending"}, 202)


async def _checks(running: Running) -> dict[str, str]:
    checks = {"database": "ok", **running.parts.health()}
    if running.feed.closed:
        checks["process"] = "shutting down"
    try:
        async with asyncio.timeout(_READY_S):
            await history.resume(running.parts.db, "")
    except TimeoutError:
        checks["database"] = f"no answer within {_READY_S:g} s"
    except ControlPlaneError as error:
        checks["database"] = error.message
    return checks
