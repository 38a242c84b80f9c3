"""Row r: a replay of recorded requests against two versions, and the same calls in a bare loop."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from bench.processes import VERSIONS, clock_s, dev_servers, make_models
from bench.table import Row, faster, middle
from control_plane.domain.gate import Tolerance
from control_plane.domain.replay import rule
from control_plane.serving import stubs
from control_plane.serving.replay import IN_FLIGHT, Asker, Pair, replayed
from control_plane.serving.tensor import make_tensor
from control_plane.serving.warmup import Recorded

RECORDS = 1_000
ROUNDS = 5
TIMEOUT_S = 10.0
_MODEL = "m00"
_FARTHEST = Tolerance(max_abs=100.0)  # version 2 answers 100 more than version 1


async def measure(home: Path) -> list[Row]:
    """Send the same turn by turn, from this process."""
    models = make_models(home / "models", 1)
    recorded = [Recorded(at, _request(at).SerializeToString()) for at in range(1, RECORDS + 1)]
    async with dev_servers(home, "dev", 1, models, predict=True) as (server,):
        turns = []
        for _ in range(ROUNDS):
            bare_s = await _bare(server.address)
            turns.append((await _ours(server.address, recorded), bare_s))
    pair = middle([ours for ours, _ in turns]), middle([bare for _, bare in turns])
    return [faster("r", f"replay of {RECORDS:,} records against two versions", pair, 0.7)]


async def _ours(address: str, recorded: Sequence[Recorded]) -> float:
    async with Asker(address) as asker:
        began = clock_s()
        summary = await replayed(asker, Pair(_MODEL, *VERSIONS), recorded, TIMEOUT_S)
        verdict = rule(summary, _FARTHEST)
        took = clock_s() - began
    if summary.answered != RECORDS:
        raise ValueError(verdict.sentence)
    return took


async def _bare(address: str) -> float:
    requests = iter([_request(at, version) for at in range(1, RECORDS + 1) for version in VERSIONS])

    async def work(predict: Any) -> None:
        for one in requests:
            await predict(one, timeout=TIMEOUT_S)

    async with grpc.aio.insecure_channel(address) as channel:
        predict = stubs.PredictionServiceStub(channel).Predict
        began = clock_s()
        await asyncio.gather(*(work(predict) for _ in range(IN_FLIGHT)))
        return clock_s() - began


def _request(x: int, version: int | None = None) -> Any:
    request = stubs.PredictRequest(model_spec=stubs.ModelSpec(name=_MODEL))
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["x"].CopyFrom(make_tensor("DT_FLOAT", [8], [x / 7 + at for at in range(8)]))
    return request
