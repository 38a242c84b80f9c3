"""Predictions: TensorFlow Serving's REST JSON in and out, sent to a healthy server."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from control_plane.api.deps import RunningDep, ViewerDep
from control_plane.api.parts import Running
from control_plane.api.schemas import FleetPath, LabelPath, ModelPath, VersionPath

router = APIRouter(prefix="/fleets/{fleet}/models/{model}", tags=["predict"])


async def _raw_body(request: Request) -> bytes:
    return await request.body()


BodyDep = Annotated[bytes, Depends(_raw_body)]


@router.post(":predict")
async def predict(
    fleet: FleetPath, model: ModelPath, running: RunningDep, raw: BodyDep, _: ViewerDep
) -> Response:
    """Ask whichever version answers callers without a label or number."""
    return await _predict(running, fleet, model, None, raw)


@router.post("/versions/{version}:predict")
async def predict_version(
    fleet: FleetPath,
    model: ModelPath,
    version: VersionPath,
    running: RunningDep,
    raw: BodyDep,
    _: ViewerDep,
) -> Response:
    """Ask a version."""
    return await _predict(running, fleet, model, version, raw)


@router.post("/labels/{label}:predict")
async def predict_label(
    fleet: FleetPath,
    model: ModelPath,
    label: LabelPath,
    running: RunningDep,
    raw: BodyDep,
    _: ViewerDep,
) -> Response:
    """Ask the version that a label points at."""
    return await _predict(running, fleet, model, label, raw)


async def _predict(
    running: Running, fleet: str, model: str, at: int | str | None, raw: bytes
) -> Response:
    timeout_s = running.parts.options.predict_timeout_s
    answered = await running.predictor.predict(fleet, model, at, raw, timeout_s=timeout_s)
    headers = {"X-Served-Version": str(answered.version), "X-Served-By": answered.server}
    return Response(answered.body, headers=headers, media_type="application/json")
