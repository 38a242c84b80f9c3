"""Sends recorded requests to two versions of a model on one server, and compares the answers.

It has a connection and a small budget of its own, so neither observing nor `:predict` waits for it.
"""

import asyncio
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from control_plane.domain import replay
from control_plane.domain.errors import ArtifactBroken, PredictionFailed, ServerUnreachable
from control_plane.domain.replay import Answer, Compared, Difference, Summary, Tensor
from control_plane.serving import storage, stubs
from control_plane.serving.tensor import dtype_of, shape_of, values_of
from control_plane.serving.warmup import WARM_UP, Recorded, records

IN_FLIGHT = 4
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
_GONE = frozenset({"UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"})
_LARGE = 20_000  # elements: from here on a comparison would hold the others up
_LONGEST_ERROR = 300


def requests_at(path: str, most: int) -> list[Recorded]:
    """Return up to `most` requests of the warm-up file of the version at `path`; none without one.

    Raises:
        ArtifactBroken: it is not a TFRecord file of predictions; `record` says from where on.
        ArtifactMissing: it cannot be seen.
    """
    with storage.seen(path):
        if WARM_UP not in storage.tree(path):
            return []
        content = storage.read(path, WARM_UP)
    return requests_in(content, most)


def requests_in(content: bytes, most: int) -> list[Recorded]:
    """Return up to `most` requests of a TFRecord file of PredictionLog, all of them predictions.

    Raises:
        ArtifactBroken: it is none, or a record is of another kind; `record` says which.
    """
    found: list[Recorded] = []
    for number, data in enumerate(records(content), start=1):
        if len(found) == most:
            break
        found.append(Recorded(number, _request(number, data)))
    return found


def _request(number: int, data: bytes) -> bytes:
    try:
        log = stubs.PredictionLog.FromString(data)
    except DecodeError:
        text = f"record {number} is not a PredictionLog"
        raise ArtifactBroken(text, record=number) from None
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        text = f"record {number} is {f'a {kind}' if kind else 'empty'}: predict_log can be replayed"
        raise ArtifactBroken(text, record=number)
    return bytes(log.predict_log.request.SerializeToString())


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of a model."""

    model: str
    current: int
    new: int


class Asker:
    """A connection for questions whose answers are looked at closely."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._predict = stubs.PredictionServiceStub(self._channel).Predict

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self.close()

    async def ask(self, request: Any, timeout_s: float) -> "Heard":
        """Send a `PredictRequest`.

        Raises:
            ServerUnreachable: the server is gone, or has no thread for us.
        """
        began = time.perf_counter()
        try:
            answer = await self._predict(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            code, text = error.code().name, _words(error)
            if code in _GONE:
                raise ServerUnreachable(text, grpc_code=code) from None
            return Heard((time.perf_counter() - began) * 1000, None, f"{code}: {text}")
        return Heard((time.perf_counter() - began) * 1000, answer)

    async def close(self) -> None:
        """Hang up; calls in flight are cancelled."""
        await self._channel.close()


def _words(error: grpc.aio.AioRpcError) -> str:
    """What the server says, as far as a database keeps it."""
    return (error.details() or "").replace("\0", "")[:_LONGEST_ERROR]


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it came."""

    latency_ms: float
    response: Any  # a PredictResponse; None where it is an error
    error: str = ""


async def replayed(
    asker: Asker, pair: Pair, recorded: Sequence[Recorded], timeout_s: float
) -> Summary:
    """Send each request to both versions, a few at a time.

    Raises:
        ServerUnreachable: the server went away; what it answered until then proves nothing.
    """
    waiting, results = iter(recorded), list[Compared]()

    async def work() -> None:
        for one in waiting:
            results.append(await _compared(asker, pair, one, timeout_s))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())
    except* ServerUnreachable as gone:
        raise gone.exceptions[0] from None
    return replay.summarise(results)


async def _compared(asker: Asker, pair: Pair, one: Recorded, timeout_s: float) -> Compared:
    """Ask both in turn: the one that is asked first changes from record to record."""
    request = stubs.PredictRequest.FromString(one.request)
    signature = request.model_spec.signature_name
    heard: dict[int, Heard] = {}
    both = (pair.current, pair.new)
    for version in both if one.number % 2 else both[::-1]:
        request.model_spec.CopyFrom(_spec(pair.model, version, signature))
        heard[version] = await asker.ask(request, timeout_s)
    current, new = heard[pair.current], heard[pair.new]
    if current.error or new.error:
        return replay.compare(one.number, _failed(current), _failed(new))
    if _size(current.response) < _LARGE:
        return _judged(one.number, current, new)
    return await asyncio.to_thread(_judged, one.number, current, new)


def _spec(model: str, version: int, signature: str) -> Any:
    spec = stubs.ModelSpec(name=model, signature_name=signature)
    spec.version.value = version
    return spec


def _failed(heard: Heard) -> Answer:
    return Answer(heard.latency_ms, error=heard.error)


def _size(response: Any) -> int:
    return sum(prod(shape_of(tensor)) for tensor in response.outputs.values())


def _judged(number: int, current: Heard, new: Heard) -> Compared:
    """Compare two answers; tensors of equal bytes are not unpacked."""
    old, now = current.response.outputs, new.response.outputs
    try:
        found = {name: _difference(old, now, name) for name in sorted({*old, *now})}
    except PredictionFailed as error:
        failed = Answer(new.latency_ms, error=error.message)
        return replay.compare(number, _failed(current), failed)
    return Compared(number, Answer(current.latency_ms), Answer(new.latency_ms), found)


def _difference(old: Any, now: Any, name: str) -> Difference:
    if name in old and name in now and old[name] == now[name]:
        return replay.alike(dtype_of(now[name]), shape_of(now[name]))
    sides = (_tensor(side[name]) if name in side else None for side in (old, now))
    return replay.difference(*sides)


def _tensor(tensor: Any) -> Tensor:
    """Unpack a tensor; 32-bit floats stay as they are, not as they would be printed."""
    dtype, shape = dtype_of(tensor), shape_of(tensor)
    return Tensor(dtype, shape, _floats(tensor, dtype, prod(shape)) or values_of(tensor))


def _floats(tensor: Any, dtype: str, size: int) -> Sequence[float]:
    """The values of a float tensor in its usual form; empty for all others."""
    if dtype not in ("DT_FLOAT", "DT_DOUBLE"):
        return ()
    if tensor.tensor_content:
        return _packed(tensor.tensor_content, array("f" if dtype == "DT_FLOAT" else "d"), size)
    values = list(tensor.float_val if dtype == "DT_FLOAT" else tensor.double_val)
    return values if len(values) == size else ()


def _packed(content: bytes, values: "array[float]", size: int) -> Sequence[float]:
    if len(content) != size * values.itemsize or sys.byteorder == "big":
        return ()
    values.frombytes(content)
    return values.tolist()
