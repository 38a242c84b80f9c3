"""TensorFlow Serving's gRPC surface over a machine in real time.

The server is synchronous, as the real one is: each request holds a thread for as long as it
lasts, a blocked reload too, and without a free thread every request is refused.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from control_plane.devserver import wire
from control_plane.devserver.live import LiveMachine
from control_plane.devserver.machine import Machine
from control_plane.devserver.refusal import Code, Refusal
from control_plane.devserver.saved_model import Servable
from control_plane.serving import stubs

_T = TypeVar("_T")
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_SIGNATURES = "signature_def"
_SPARE_THREADS = 2  # they do nothing but refuse
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class PortTaken(OSError):
    """The port cannot be listened on."""


def serve(live: LiveMachine, address: str, max_threads: int) -> Any:
    """Open the port and answer.

    Raises:
        PortTaken: something else listens there, or it is not an address of this machine.
    """
    limit = _ThreadLimit(max_threads)
    server = grpc.server(
        ThreadPoolExecutor(limit.size + _SPARE_THREADS, thread_name_prefix="grpc"),
        interceptors=[limit],
        options=_OPTIONS,
    )
    stubs.add_ModelServiceServicer_to_server(_ModelService(live), server)
    stubs.add_PredictionServiceServicer_to_server(_PredictionService(live), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortTaken(f"cannot listen on {address}: {error}") from None
    if not port:
        raise PortTaken(f"cannot listen on {address}")
    server.start()
    return server


class _ThreadLimit(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses what a thread pool of the real server would have no thread for.

    One of its threads waits for new requests and answers none.
    """

    def __init__(self, max_threads: int) -> None:
        self.size = max(1, max_threads - 1)
        self._free = threading.BoundedSemaphore(self.size)

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None

        def limited(request: Any, context: Any) -> Any:
            if not self._free.acquire(blocking=False):
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
            try:
                return handler.unary_unary(request, context)
            finally:
                self._free.release()

        return grpc.unary_unary_rpc_method_handler(
            limited, handler.request_deserializer, handler.response_serializer
        )


class _ModelService(stubs.ModelServiceServicer):  # type: ignore[misc]
    def __init__(self, live: LiveMachine) -> None:
        self._live = live

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        def answer() -> Any:
            name, version, _ = wire.asked_for(wire.spec_of(request))
            return wire.status_response(self._live.act(lambda m: m.status(name, version)))

        return _answered(context, answer)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(context, lambda: self._reloaded(request))

    def _reloaded(self, request: Any) -> Any:
        config = wire.reload_entries(request)
        call = self._live.act(lambda machine: machine.reload(config))
        self._live.wait_until(lambda _: call.answer is not None)
        code, message = call.answer or ("OK", "")
        if code != Code.OK.name:
            raise Refusal(Code[code], message)
        response = stubs.ReloadConfigResponse(status=stubs.StatusProto(error_code=0))
        for name in request.metric_names:
            response.metric.add(name=name, int64_value_increase=0)
        return response


class _PredictionService(stubs.PredictionServiceServicer):  # type: ignore[misc]
    def __init__(self, live: LiveMachine) -> None:
        self._live = live

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(context, lambda: self._predicted(request))

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(context, lambda: self._described(request))

    def Classify(self, request: Any, context: Any) -> None:  # noqa: N802
        _unimplemented(request, context)

    def Regress(self, request: Any, context: Any) -> None:  # noqa: N802
        _unimplemented(request, context)

    def MultiInference(self, request: Any, context: Any) -> None:  # noqa: N802
        _unimplemented(request, context)

    def _predicted(self, request: Any) -> Any:
        with self._serving(wire.spec_of(request)) as (version, servable):
            signature, outputs = servable.predict(request)
        response = stubs.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature
        for name, tensor in outputs.items():
            response.outputs[name].CopyFrom(tensor)
        return response

    def _described(self, request: Any) -> Any:
        spec = wire.spec_of(request)
        _check_fields(request.metadata_field)
        with self._serving(spec) as (version, servable):
            signatures = stubs.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        response = stubs.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.metadata[_SIGNATURES].Pack(signatures)
        return response

    @contextmanager
    def _serving(self, spec: Any) -> Iterator[tuple[int, Servable]]:
        """Hold the version that a request resolved to, whatever is loaded meanwhile."""
        asked = wire.asked_for(spec)

        def entered(machine: Machine) -> tuple[int, Any, int]:
            version = machine.resolve(*asked)
            return version, machine.servable(spec.name, version), machine.enter()

        version, servable, ticket = self._live.act(entered)
        try:
            yield version, servable
        finally:
            self._live.act(lambda machine: machine.leave(ticket))


def _check_fields(fields: Any) -> None:
    if not fields:
        message = "GetModelMetadataRequest must specify at least one metadata_field"
        raise Refusal(Code.INVALID_ARGUMENT, message)
    for field in fields:
        if field != _SIGNATURES:
            message = f"Metadata field {field} is not supported"
            raise Refusal(Code.INVALID_ARGUMENT, message)


def _answered(context: Any, answer: Callable[[], _T]) -> _T:
    try:
        return answer()
    except Refusal as refusal:
        context.abort(_STATUS[refusal.code], wire.cut(refusal.message))
        raise


def _unimplemented(request: Any, context: Any) -> None:  # noqa: ARG001
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "The dev server does not serve this method.")
