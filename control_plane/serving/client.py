"""The way to one TensorFlow Serving process: gRPC in, domain values and domain errors out.

Every call has a deadline that also covers its wait for a free slot. Two slots are for observing and
reloading, since a server runs each call on a thread of a small pool that predictions need too.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from control_plane.domain.errors import (
    ControlPlaneError,
    DeadlineExpired,
    NotFound,
    PredictionFailed,
    PredictionRefused,
    ServerUnreachable,
    Transient,
)
from control_plane.domain.signature import DEFAULT_SIGNATURE, Signatures
from control_plane.domain.state import (
    Ability,
    Able,
    Absent,
    Config,
    Dangling,
    LabelAnswer,
    Marker,
    ReloadAnswer,
    Resolved,
    State,
    VersionStatus,
)
from control_plane.serving import stubs, wire
from control_plane.serving.config import config_message
from control_plane.serving.signatures import signatures_of

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # A restarted server is seen at once. The minimum is the time a dial may take, not a pause.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)
_CONTROL_SLOTS = 2
_PREDICT_SLOTS = 4
_MOST_SAMPLES = 4
_SIGNATURE_DEF = "signature_def"
_NO_LABELS_YET = "Model labels does not init yet"
_NO_SUCH_LABEL = "Unrecognized servable version label"
_NOT_LOADED = re.compile(r"Servable not found for request: Specific\(.*, (\d+)\)")
_AWAY = frozenset({"UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"})
_PROVES_NOTHING = frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE"})
_REFUSED = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"})


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer to a prediction, and the version that gave it."""

    version: int
    body: Mapping[str, Any]  # TensorFlow Serving's REST JSON


class ModelServer(Protocol):
    """One model server, as the loop and the services use it."""

    async def status(self, model: str, *, timeout_s: float) -> Mapping[int, VersionStatus]:
        """Return the state of each version that the server knows; empty if it knows none."""

    async def label(self, model: str, label: str, *, timeout_s: float) -> LabelAnswer:
        """Ask where a label points."""

    async def reload(
        self, config: Config, marker: Marker | None, owner: str, *, timeout_s: float
    ) -> ReloadAnswer:
        """Send the whole config. Never raises for what the call returned, deadlines included."""

    async def metadata(
        self, model: str, *, at: int | str | None = None, timeout_s: float
    ) -> tuple[int, Signatures]:
        """Return the version that answers at a number, a label or neither, and its signatures."""

    async def predict(
        self,
        model: str,
        body: Mapping[str, Any],
        *,
        at: int | str | None = None,
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Prediction:
        """Answer a REST body as the server's own REST front does."""

    async def predict_raw(
        self, model: str, request: bytes, *, at: int | str | None = None, timeout_s: float
    ) -> Prediction:
        """Send a recorded `PredictRequest`; the answer names every output."""

    async def able(
        self,
        model: str,
        version: int,
        *,
        warm_up: bytes = b"",
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Able:
        """Ask a version one real request: a recorded one if there is one, else samples."""

    async def close(self) -> None:
        """Give the connection up."""


class GrpcModelServer:
    """A model server over gRPC, at `host:port`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._models = stubs.ModelServiceStub(self._channel)
        self._predictions = stubs.PredictionServiceStub(self._channel)
        self._control = asyncio.Semaphore(_CONTROL_SLOTS)
        self._serving = asyncio.Semaphore(_PREDICT_SLOTS)

    async def status(self, model: str, *, timeout_s: float) -> Mapping[int, VersionStatus]:
        """Return the state of each version that the server knows; empty if it knows none.

        Raises:
            ServerUnreachable: no answer, or the server has no thread for us.
            DeadlineExpired: no answer in time.
        """
        request = stubs.GetModelStatusRequest(model_spec=stubs.ModelSpec(name=model))
        async with _slot(self._control, timeout_s) as left_s:
            try:
                answer = await self._models.GetModelStatus(request, timeout=left_s())
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return {}
                raise _silence(error) from None
        return {entry.version: _version_status(entry) for entry in answer.model_version_status}

    async def label(self, model: str, label: str, *, timeout_s: float) -> LabelAnswer:
        """Ask where a label points.

        Raises:
            ServerUnreachable: no answer, or the server has no thread for us.
            DeadlineExpired: no answer in time.
        """
        request = _metadata_request(model, label)
        async with _slot(self._control, timeout_s) as left_s:
            try:
                answer = await self._predictions.GetModelMetadata(request, timeout=left_s())
            except grpc.aio.AioRpcError as error:
                return _label_error(error)
        return Resolved(answer.model_spec.version.value)

    async def reload(
        self, config: Config, marker: Marker | None, owner: str, *, timeout_s: float
    ) -> ReloadAnswer:
        """Send the whole config. Never raises for what the call returned, deadlines included."""
        request = stubs.ReloadConfigRequest(config=config_message(config, marker, owner))
        try:
            async with _slot(self._control, timeout_s) as left_s:
                await self._models.HandleReloadConfigRequest(request, timeout=left_s())
        except grpc.aio.AioRpcError as error:
            return ReloadAnswer(error.code().name, error.details() or "")
        except DeadlineExpired as error:
            return ReloadAnswer("DEADLINE_EXCEEDED", error.message)
        return ReloadAnswer("OK")

    async def metadata(
        self, model: str, *, at: int | str | None = None, timeout_s: float
    ) -> tuple[int, Signatures]:
        """Return the version that answers at a number, a label or neither, and its signatures.

        Raises:
            NotFound: the model, version or label is not loaded or not known there.
            ServerUnreachable: no answer, or the server has no thread for us.
            DeadlineExpired: no answer in time.
        """
        async with _slot(self._serving, timeout_s) as left_s:
            return await self._metadata(model, at, left_s())

    async def predict(
        self,
        model: str,
        body: Mapping[str, Any],
        *,
        at: int | str | None = None,
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Prediction:
        """Answer a REST body as the server's own REST front does, its error texts included.

        `signatures` are asked for first where they are not given.

        Raises:
            PredictionRefused: the body does not fit, or the server refused it.
            NotFound: the model, version or label is not loaded or not known there.
            PredictionFailed: the model failed.
            ServerUnreachable: no answer, or the server has no thread for us.
            DeadlineExpired: no answer in time.
        """
        async with _slot(self._serving, timeout_s) as left_s:
            if signatures is None:
                _, signatures = await self._metadata(model, at, left_s())
            request, layout = wire.predict_request(body, signatures)
            answer = await self._predict(request, model, at, left_s())
        return Prediction(answer.model_spec.version.value, wire.answer(answer.outputs, layout))

    async def predict_raw(
        self, model: str, request: bytes, *, at: int | str | None = None, timeout_s: float
    ) -> Prediction:
        """Send a recorded `PredictRequest`; the answer names every output. Raises as `predict`."""
        async with _slot(self._serving, timeout_s) as left_s:
            answer = await self._predict(_recorded(request), model, at, left_s())
        outputs = {name: wire.from_tensor(name, one) for name, one in answer.outputs.items()}
        return Prediction(answer.model_spec.version.value, {"outputs": outputs})

    async def able(
        self,
        model: str,
        version: int,
        *,
        warm_up: bytes = b"",
        signatures: Signatures | None = None,
        timeout_s: float,
    ) -> Able:
        """Ask a version one real request: a recorded one if there is one, else samples.

        A request that is refused for what it holds proves nothing, so the next one is tried.
        """
        found = Able(Ability.UNPROVEN, "it has no signature that can be asked")
        try:
            async with _slot(self._control, timeout_s) as left_s:
                if signatures is None and not warm_up:
                    _, signatures = await self._metadata(model, version, left_s())
                for request in _questions(warm_up, signatures or {}):
                    found = await self._ask(request, model, version, left_s())
                    if found.ability is not Ability.UNPROVEN:
                        break
        except ControlPlaneError as error:
            return _ability(error)
        return found

    async def _metadata(
        self, model: str, at: int | str | None, timeout_s: float
    ) -> tuple[int, Signatures]:
        request = _metadata_request(model, at)
        call = self._predictions.GetModelMetadata(request, timeout=timeout_s)
        answer = await _translated(call)
        packed = stubs.SignatureDefMap()
        answer.metadata[_SIGNATURE_DEF].Unpack(packed)
        return answer.model_spec.version.value, signatures_of(packed.signature_def)

    async def _predict(
        self, request: Any, model: str, at: int | str | None, timeout_s: float
    ) -> Any:
        spec = _model_spec(model, at)
        spec.signature_name = request.model_spec.signature_name
        request.model_spec.CopyFrom(spec)
        return await _translated(self._predictions.Predict(request, timeout=timeout_s))

    async def _ask(self, request: Any, model: str, version: int, timeout_s: float) -> Able:
        try:
            await self._predict(request, model, version, timeout_s)
        except ControlPlaneError as error:
            return _ability(error)
        return Able(Ability.PROVEN)

    async def close(self) -> None:
        """Give the connection up; calls in flight are cancelled."""
        await self._channel.close()


@asynccontextmanager
async def _slot(slots: asyncio.Semaphore, timeout_s: float) -> AsyncIterator[Callable[[], float]]:
    """Hold a slot; yields what tells the seconds left of the deadline."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + timeout_s
    try:
        async with asyncio.timeout_at(ends_at if slots.locked() else None):
            await slots.acquire()
    except TimeoutError:
        raise DeadlineExpired("not sent: earlier calls to this server are still open") from None
    try:
        yield lambda: max(ends_at - loop.time(), 0.001)
    finally:
        slots.release()


async def _translated(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise domain_error(error) from None


def domain_error(error: grpc.aio.AioRpcError) -> ControlPlaneError:
    """Sort a failed call by what can be done about it; `details` name gRPC's code."""
    code, text = error.code().name, error.details() or ""
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExpired(text, grpc_code=code)
    if code in _AWAY:
        return ServerUnreachable(text, grpc_code=code)
    if code == "NOT_FOUND":
        return NotFound(text, grpc_code=code)
    if code in _REFUSED:
        return PredictionRefused(text, grpc_code=code)
    return PredictionFailed(text, grpc_code=code)


def _questions(warm_up: bytes, signatures: Signatures) -> Iterator[Any]:
    """The requests to try in turn: the recorded one, the default signature, some others."""
    if warm_up:
        yield _recorded(warm_up)
    names = sorted(signatures, key=lambda name: (name != DEFAULT_SIGNATURE, name))
    for name in names[:_MOST_SAMPLES]:
        yield wire.sample_request(name, signatures[name])


def _recorded(request: bytes) -> Any:
    try:
        return stubs.PredictRequest.FromString(request)
    except DecodeError:
        raise PredictionRefused("the recorded request is not a PredictRequest") from None


def _ability(error: ControlPlaneError) -> Able:
    if isinstance(error, Transient):
        return Able(Ability.RETRY, error.message)
    unproven = error.details.get("grpc_code") in _PROVES_NOTHING
    return Able(Ability.UNPROVEN if unproven else Ability.UNABLE, error.message)


def _label_error(error: grpc.aio.AioRpcError) -> LabelAnswer:
    text = error.details() or ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE if _NO_LABELS_YET in text:
            return Absent()
        case grpc.StatusCode.INVALID_ARGUMENT if _NO_SUCH_LABEL in text:
            return Absent()
        case grpc.StatusCode.NOT_FOUND:
            gone = _NOT_LOADED.search(text)
            return Dangling(int(gone[1])) if gone else Absent()
        case _:
            raise _silence(error) from None


def _silence(error: grpc.aio.AioRpcError) -> Transient:
    """What a failed look means: whatever the words, nothing was seen."""
    code, text = error.code().name, error.details() or ""
    kind = DeadlineExpired if code == "DEADLINE_EXCEEDED" else ServerUnreachable
    return kind(text, grpc_code=code)


def no_thread(error: Transient) -> bool:
    """Whether a call found the server's thread pool exhausted."""
    return error.details.get("grpc_code") == "RESOURCE_EXHAUSTED"


def nothing_listens(error: Transient) -> bool:
    """Whether a call was refused a connection: no process has that port open."""
    return "Connection refused" in error.message


def _version_status(entry: Any) -> VersionStatus:
    return VersionStatus(State(entry.state), entry.status.error_code, entry.status.error_message)


def _metadata_request(model: str, at: int | str | None) -> Any:
    return stubs.GetModelMetadataRequest(
        model_spec=_model_spec(model, at), metadata_field=[_SIGNATURE_DEF]
    )


def _model_spec(model: str, at: int | str | None) -> Any:
    spec = stubs.ModelSpec(name=model)
    if isinstance(at, str):
        spec.version_label = at
    elif at is not None:
        spec.version.value = at
    return spec
