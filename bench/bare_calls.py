"""The bare side: the calls and commits that cannot be done without, and nothing around them."""

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc.aio

from bench.processes import VERSIONS, DevServer
from control_plane.serving import stubs
from control_plane.serving.tensor import make_tensor
from control_plane.store.engines import journal_mode

IN_FLIGHT = 2  # calls per server at a time, as the control plane allows itself
TIMEOUT_S = 10.0
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
_MARKERS = ("_cp_0123456789abcdef0123456789abcdef", "_cp_owner_0123456789abcdef_default")
_DOCUMENT = "x" * 1000


class BareServer:
    """A channel to one server, and the calls as they are."""

    def __init__(self, server: DevServer) -> None:
        self._channel = grpc.aio.insecure_channel(server.address, options=_OPTIONS)
        self._models = stubs.ModelServiceStub(self._channel)
        self._predictions = stubs.PredictionServiceStub(self._channel)

    async def reload(self, config: Any) -> None:
        """Send a whole config."""
        request = stubs.ReloadConfigRequest(config=config)
        await self._models.HandleReloadConfigRequest(request, timeout=TIMEOUT_S)

    async def predict(self, model: str, version: int) -> None:
        """Ask a version one request."""
        spec = stubs.ModelSpec(name=model)
        spec.version.value = version
        inputs = {"x": make_tensor("DT_FLOAT", [1], [1.0])}
        request = stubs.PredictRequest(model_spec=spec, inputs=inputs)
        await self._predictions.Predict(request, timeout=TIMEOUT_S)

    async def label(self, model: str, label: str) -> int:
        """Ask where a label points; 0 if nowhere."""
        spec = stubs.ModelSpec(name=model, version_label=label)
        request = stubs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        try:
            answer = await self._predictions.GetModelMetadata(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return 0
        return int(answer.model_spec.version.value)

    async def status(self, model: str) -> int:
        """Ask for the states of a model; return how many versions it has."""
        request = stubs.GetModelStatusRequest(model_spec=stubs.ModelSpec(name=model))
        answer = await self._models.GetModelStatus(request, timeout=TIMEOUT_S)
        return sum(entry.state == _AVAILABLE for entry in answer.model_version_status)

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


_AVAILABLE = stubs.ModelVersionStatus.State.Value("AVAILABLE")


class BareServers:
    """All servers of a fleet."""

    def __init__(self, servers: Iterable[DevServer]) -> None:
        self.each = [BareServer(server) for server in servers]

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up on all."""
        await asyncio.gather(*(server.close() for server in self.each))

    async def move(self, config: Any, model: str, version: int, disk: "Commits") -> None:
        """Move `stable`, with what a careful hand would do: ask first, send, ask again, write."""
        disk.commit()
        await asyncio.gather(*(server.predict(model, version) for server in self.each))
        disk.commit()
        await asyncio.gather(*(_moved(server, config, model, version) for server in self.each))
        disk.commit()

    async def sweep(self, models: Sequence[str]) -> int:
        """Read every status and `stable` of every model; return how many versions are AVAILABLE."""
        found = await asyncio.gather(*(_swept(server, models) for server in self.each))
        return sum(found)

    async def until(self, model: str, version: int, pause_s: float) -> None:
        """Return when `stable` answers with a version on every server."""
        for server in self.each:
            while await server.label(model, "stable") != version:  # noqa: ASYNC110 - it comes from elsewhere
                await asyncio.sleep(pause_s)


async def _moved(server: BareServer, config: Any, model: str, version: int) -> None:
    await server.reload(config)
    found = await server.label(model, "stable")
    if found != version:
        raise ValueError(f"stable of {model} answers with {found}, not {version}")


async def _swept(server: BareServer, models: Sequence[str]) -> int:
    names = iter(models)

    async def one_after_the_other() -> int:
        found = 0
        for name in names:
            found += await server.status(name)
            await server.label(name, "stable")
        return found

    return sum(await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT))))


def config_message(models: Mapping[str, Path], moved: str, version: int) -> Any:
    """Return the config with `stable` of one model on a version, of the others on 1."""
    config = stubs.ModelServerConfig()
    for name, base_path in models.items():
        stable = version if name == moved else VERSIONS[0]
        entry = config.model_config_list.config.add(
            name=name,
            base_path=str(base_path),
            model_platform="tensorflow",
            version_labels={"stable": stable},
        )
        entry.model_version_policy.specific.versions.extend(VERSIONS)
        if name == moved:
            entry.version_labels.update(dict.fromkeys(_MARKERS, stable))
    return config


class Commits:
    """A SQLite file written as durably as the control plane writes its own."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        mode = journal_mode(sqlite3.sqlite_version_info)
        self._connection.execute(f"PRAGMA journal_mode = {mode}")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, document TEXT)")

    def commit(self) -> None:
        """Write one row and wait until it is on the disk."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO journal (document) VALUES (?)", (_DOCUMENT,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
