"""A gRPC server with TensorFlow Serving's surface that answers what a test tells it to."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from control_plane.domain.signature import Signature
from control_plane.serving import stubs
from control_plane.serving.client import GrpcModelServer

Code = grpc.StatusCode
Handler = Callable[[Any], Awaitable[Any]]


@dataclass
class Refusal(Exception):
    """What a handler raises to answer with a gRPC error."""

    code: grpc.StatusCode
    text: str = ""


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    answers: dict[str, Handler] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def __call__(self, name: str, request: Any, context: Any) -> Any:
        self.asked.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.answers[name](request)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.text)
        finally:
            self.running -= 1

    def answer(self, name: str, message: Any) -> None:
        async def handler(_: Any) -> Any:
            return message

        self.answers[name] = handler

    def refuse(self, name: str, code: grpc.StatusCode, text: str = "") -> None:
        async def handler(_: Any) -> Any:
            raise Refusal(code, text)

        self.answers[name] = handler


def serve(script: Script, port: int) -> grpc.aio.Server:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])

    def servicer(base: Any, *names: str) -> Any:
        def method(name: str) -> Any:
            async def answer(_: Any, request: Any, context: Any) -> Any:
                return await script(name, request, context)

            return answer

        return type("Scripted", (base,), {name: method(name) for name in names})()

    models = servicer(stubs.ModelServiceServicer, "GetModelStatus", "HandleReloadConfigRequest")
    predictions = servicer(stubs.PredictionServiceServicer, "Predict", "GetModelMetadata")
    stubs.add_ModelServiceServicer_to_server(models, server)
    stubs.add_PredictionServiceServicer_to_server(predictions, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    return server


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def metadata(version: int, signature: Signature | None = None) -> Any:
    answer = stubs.GetModelMetadataResponse()
    answer.model_spec.version.value = version
    packed = stubs.SignatureDefMap()
    if signature is not None:
        found = packed.signature_def["serving_default"]
        for side, specs in (found.inputs, signature.inputs), (found.outputs, signature.outputs):
            for name, spec in specs.items():
                side[name].dtype = stubs.DataType.Value(spec.dtype)
                side[name].tensor_shape.unknown_rank = spec.shape is None
                for size in spec.shape or ():
                    side[name].tensor_shape.dim.add(size=size)
    answer.metadata["signature_def"].Pack(packed)
    return answer


def predicted(version: int, **outputs: Any) -> Any:
    answer = stubs.PredictResponse()
    answer.model_spec.version.value = version
    for name, tensor in outputs.items():
        answer.outputs[name].CopyFrom(tensor)
    return answer


@asynccontextmanager
async def running(script: Script) -> AsyncIterator[GrpcModelServer]:
    """A client of a server that answers by the script."""
    port = free_port()
    server = serve(script, port)
    await server.start()
    client = GrpcModelServer(f"127.0.0.1:{port}")
    try:
        yield client
    finally:
        await client.close()
        await server.stop(None)
