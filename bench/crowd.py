"""`python -m bench.crowd COUNT MODELS SOCKET`: that many dev machines in one process, a port each.

The machines are those of `tfsctl devserver --no_predict`; only threads and disks are left out:
their time passes when they are asked, they find every model in memory, and what they answer is
written once. What they saw is told on a socket: a line with a question, a line of JSON.
"""

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc.aio
import uvloop

from bench.processes import VERSIONS
from control_plane.devserver import wire
from control_plane.devserver.config import Entry, Flags, Specific
from control_plane.devserver.disk import LoadOutcome
from control_plane.devserver.machine import Machine
from control_plane.devserver.refusal import Refusal
from control_plane.devserver.saved_model import Servable, load_without_running
from control_plane.serving import stubs

FLAGS = {
    "allow_version_labels_for_unavailable_models": True,
    "file_system_poll_wait_seconds": 5,
    "num_load_threads": 8,
}
_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS = [("grpc.so_reuseport", 0)]
_MARKER = "_cp_"
Handler = Callable[[bytes, Any], Awaitable[bytes]]


class Shelf:
    """Storage that all machines share, read once."""

    def __init__(self, base_paths: list[str]) -> None:
        found = {path: load_without_running(path) for path in _versions_under(base_paths)}
        self._versions = {path: LoadOutcome(servable=one) for path, one in found.items()}
        self._children = {path: [str(one) for one in VERSIONS] for path in base_paths}

    def children(self, base_path: str) -> list[str] | None:
        return self._children.get(base_path)

    def measure(self, path: str) -> str | None:
        del path
        return None

    def load(self, path: str) -> LoadOutcome:
        return self._versions[path]


def _versions_under(base_paths: list[str]) -> list[str]:
    return [f"{path}/{version}" for path in base_paths for version in VERSIONS]


@dataclass(slots=True)
class Seen:
    """What all machines together were asked, and where `stable` is."""

    calls: Counter[str] = field(default_factory=Counter)
    gaps_s: list[float] = field(default_factory=list)  # between probes of a server's marker
    stable: Counter[tuple[str, int]] = field(default_factory=Counter)  # on how many servers
    moved_at: dict[tuple[str, int], float] = field(default_factory=dict)  # when one came last

    def answer(self, question: str) -> dict[str, Any]:
        """Tell of a label, or of the calls and gaps since that was asked last."""
        if question == "calls":
            gaps, calls = sorted(self.gaps_s), dict(self.calls)
            self.gaps_s.clear()
            self.calls.clear()
            return {"calls": calls, "gaps_s": gaps}
        model, version = question.split()
        key = (model, int(version))
        return {"count": self.stable[key], "at": self.moved_at.get(key, 0.0)}


class Server:
    """One machine, asked over gRPC."""

    def __init__(self, shelf: Shelf, config: list[Entry], seen: Seen) -> None:
        self._machine = Machine(Flags(**FLAGS), shelf, config, now=time.monotonic())  # type: ignore[arg-type]
        self._seen = seen
        self._probed_at = 0.0
        self._stable: dict[str, int] = {}

    def handlers(self) -> list[Any]:
        """Return what answers the calls that the control plane makes."""
        models = {"GetModelStatus": self._status, "HandleReloadConfigRequest": self._reload}
        predictions = {"GetModelMetadata": self._metadata, "Predict": self._predict}
        return [_service("ModelService", models), _service("PredictionService", predictions)]

    async def _status(self, asked: bytes, context: Any) -> bytes:
        self._seen.calls["status"] += 1
        spec = stubs.GetModelStatusRequest.FromString(asked).model_spec
        name, version, _ = wire.asked_for(spec)
        try:
            found = self._now().status(name, version)
        except Refusal as refusal:
            return await _refused(context, refusal)
        return bytes(wire.status_response(found).SerializeToString())

    async def _metadata(self, asked: bytes, context: Any) -> bytes:
        spec = stubs.GetModelMetadataRequest.FromString(asked).model_spec
        name, version, label = wire.asked_for(spec)
        self._count(label)
        try:
            machine = self._now()
            found = machine.resolve(name, version, label)
        except Refusal as refusal:
            return await _refused(context, refusal)
        return _metadata(name, found, machine.servable(name, found))

    async def _predict(self, asked: bytes, context: Any) -> bytes:
        self._seen.calls["predict"] += 1
        request = stubs.PredictRequest.FromString(asked)
        name, version, label = wire.asked_for(request.model_spec)
        try:
            machine = self._now()
            found = machine.resolve(name, version, label)
            servable: Any = machine.servable(name, found)
            signature, _ = servable.predict(request)
        except Refusal as refusal:
            return await _refused(context, refusal)
        answer = stubs.PredictResponse()
        answer.model_spec.name = name
        answer.model_spec.version.value = found
        answer.model_spec.signature_name = signature
        return bytes(answer.SerializeToString())

    async def _reload(self, asked: bytes, context: Any) -> bytes:
        self._seen.calls["reload"] += 1
        call = self._now().reload(_entries(asked))
        while call.answer is None:
            due = self._machine.due()
            await asyncio.sleep(0.1 if due is None else max(due - time.monotonic(), 0.0))
            self._now()
        self._note_labels()
        code, message = call.answer
        if code != "OK":
            await context.abort(grpc.StatusCode[code], message)
        return _RELOADED

    def _now(self) -> Machine:
        self._machine.advance(time.monotonic())
        self._machine.news.clear()
        return self._machine

    def _count(self, label: str | None) -> None:
        if label is None or not label.startswith(_MARKER):
            self._seen.calls["label" if label else "metadata"] += 1
            return
        self._seen.calls["marker"] += 1
        now = time.monotonic()
        if self._probed_at:
            self._seen.gaps_s.append(now - self._probed_at)
        self._probed_at = now

    def _note_labels(self) -> None:
        stable = {m: one["stable"] for m, one in self._machine.labels.items() if "stable" in one}
        left = self._stable.items() - stable.items()
        came = stable.items() - self._stable.items()
        self._seen.stable.subtract(left)
        self._seen.stable.update(came)
        self._seen.moved_at.update(dict.fromkeys(came, time.monotonic()))
        self._stable = stable


_RELOADED = bytes(
    stubs.ReloadConfigResponse(status=stubs.StatusProto(error_code=0)).SerializeToString()
)


@lru_cache(maxsize=256)
def _entries(asked: bytes) -> list[Entry]:
    return wire.reload_entries(stubs.ReloadConfigRequest.FromString(asked))


_written: dict[tuple[str, int], bytes] = {}


def _metadata(name: str, version: int, servable: Any) -> bytes:
    if (name, version) not in _written:
        _written[name, version] = _write_metadata(name, version, servable)
    return _written[name, version]


def _write_metadata(name: str, version: int, servable: Servable) -> bytes:
    signatures = stubs.SignatureDefMap()
    for key, signature in servable.signatures.items():
        signatures.signature_def[key].CopyFrom(signature)
    answer = stubs.GetModelMetadataResponse()
    answer.model_spec.name = name
    answer.model_spec.version.value = version
    answer.metadata["signature_def"].Pack(signatures)
    return bytes(answer.SerializeToString())


async def _refused(context: Any, refusal: Refusal) -> bytes:
    await context.abort(_STATUS[refusal.code], refusal.message)
    raise AssertionError  # abort has raised


def _service(name: str, methods: Mapping[str, Handler]) -> Any:
    each = {one: grpc.unary_unary_rpc_method_handler(call) for one, call in methods.items()}
    return grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", each)


async def _serve(count: int, base_paths: list[str], socket: Path) -> None:
    shelf, seen = Shelf(base_paths), Seen()
    config = [Entry(Path(one).name, one, policy=Specific(VERSIONS)) for one in base_paths]
    servers, ports = [], []
    for _ in range(count):
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers(Server(shelf, config, seen).handlers())
        ports.append(server.add_insecure_port("127.0.0.1:0"))
        await server.start()
        servers.append(server)
    teller = await asyncio.start_unix_server(lambda r, w: _tell(seen, r, w), socket)
    async with teller:
        socket.with_suffix(".ports").write_text(json.dumps(ports))
        await asyncio.gather(*(server.wait_for_termination() for server in servers))


async def _tell(seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(json.dumps(seen.answer(line.decode().strip())).encode() + b"\n")
            await writer.drain()
    writer.close()


def raise_file_limit() -> None:
    """Allow as many open files as this process may have: each server takes a few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    raise_file_limit()
    models = sorted(str(one) for one in Path(sys.argv[2]).iterdir())
    uvloop.run(_serve(int(sys.argv[1]), models, Path(sys.argv[3])))
