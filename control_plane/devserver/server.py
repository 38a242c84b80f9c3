"""TensorFlow Serving's gRPC surface over a machine in real time.

The server is synchronous, as the real one is: each request holds a thread for as long as it
lasts, a blocked reload too, and without a free thread every request is refused.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc

from control_plane.devserver import wire
from control_plane.devserver.answers import Answers, unimplemented
from control_plane.devserver.live import LiveMachine
from control_plane.devserver.monitoring import Metrics
from control_plane.devserver.refusal import Code, Refusal
from control_plane.serving import stubs

_T = TypeVar("_T")
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_SPARE_THREADS = 2  # they do nothing but refuse
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class PortTaken(OSError):
    """The port cannot be listened on."""


def serve(
    live: LiveMachine, answers: Answers, metrics: Metrics, address: str, max_threads: int
) -> Any:
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
    stubs.add_ModelServiceServicer_to_server(_ModelService(live, answers), server)
    stubs.add_PredictionServiceServicer_to_server(_PredictionService(answers, metrics), server)
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
    def __init__(self, live: LiveMachine, answers: Answers) -> None:
        self._live = live
        self._answers = answers

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(context, lambda: self._answers.status(wire.spec_of(request)))

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
    """Counts what the real server counts: not metadata, nor several inferences in one request."""

    def __init__(self, answers: Answers, metrics: Metrics) -> None:
        self._answers = answers
        self._metrics = metrics

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._counted("Predict", request, context, self._answers.predict)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(
            context,
            lambda: self._answers.metadata(wire.spec_of(request), request.metadata_field),
        )

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._counted("Classify", request, context, unimplemented)

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._counted("Regress", request, context, unimplemented)

    def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        return _answered(context, lambda: unimplemented(request))

    def _counted(self, api: str, request: Any, context: Any, answer: Callable[[Any], Any]) -> Any:
        def counted() -> Any:
            with self._metrics.request(request.model_spec.name, api, "GRPC"):
                return answer(request)

        return _answered(context, counted)


def _answered(context: Any, answer: Callable[[], _T]) -> _T:
    try:
        return answer()
    except Refusal as refusal:
        context.abort(_STATUS[refusal.code], wire.cut(refusal.message))
        raise
