"""The processes that figures are taken of: dev servers, and the control plane as `tfsctl serve`."""

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import psutil

from control_plane.client import AsyncClient, ClientError, calls
from control_plane.client.calls import DeploymentSpec, ServerSpec

FLEET = "default"
VERSIONS = (1, 2)
PATIENCE_S = 120.0
_PR_SET_PDEATHSIG = 1
_MODEL = Path(__file__).parents[1] / "tests" / "models" / "half_plus_two"
_FLAGS: Mapping[str, bool | int] = {
    "allow_version_labels_for_unavailable_models": True,
    "file_system_poll_wait_seconds": 1,
    "num_load_threads": 8,
}


@dataclass(frozen=True, slots=True)
class DevServer:
    """A model server that answers."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that serves the fleet."""

    url: str
    token: str
    client: AsyncClient
    process: psutil.Popen
    database: Path


def make_models(folder: Path, count: int) -> dict[str, Path]:
    """Copy a tiny SavedModel, versions 1 and 2, under so many names; return their base paths."""
    made = {f"m{number:02}": folder / f"m{number:02}" for number in range(count)}
    for base_path in made.values():
        for version in VERSIONS:
            shutil.copytree(_MODEL / str(version), base_path / str(version))
    return made


@contextmanager
def python(log: Path, *arguments: str, **environment: str) -> Iterator[psutil.Popen]:
    """Run Python with these arguments while the block does."""
    with log.open("ab") as out:
        process = psutil.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            preexec_fn=_end_with_parent,
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that measures is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@asynccontextmanager
async def dev_servers(
    home: Path, prefix: str, count: int, models: Mapping[str, Path], *, predict: bool = False
) -> AsyncIterator[list[DevServer]]:
    """Run dev servers that have every model loaded, with no labels."""
    config = home / f"{prefix}.config"
    config.write_text(_config_text(models))
    servers = [DevServer(f"{prefix}-{n}", f"127.0.0.1:{free_port()}") for n in range(1, count + 1)]
    with ExitStack() as running:
        for server in servers:
            _, _, port = server.address.partition(":")
            flags = {"port": port, "model_config_file": config, **_FLAGS}
            words = [f"--{name}={str(value).lower()}" for name, value in flags.items()]
            words += [] if predict else ["--no_predict"]
            log = home / f"{server.name}.log"
            running.enter_context(python(log, "-m", "control_plane.devserver", *words))
        await asyncio.gather(*(_answers(server) for server in servers))
        yield servers


@asynccontextmanager
async def control_plane(
    home: Path, models: Mapping[str, Path], servers: Sequence[DevServer]
) -> AsyncIterator[ControlPlane]:
    """Run a control plane whose fleet serves every model, `stable` on 1, on these servers."""
    data, port = home / "data", free_port()
    settings = {"TFSCTL_DATA_DIR": str(data), "TFSCTL_PORT": str(port), "TFSCTL_LOG_FORMAT": "json"}
    url = f"http://127.0.0.1:{port}"
    with python(home / "serve.log", "-m", "control_plane", "serve", **settings) as process:
        async with asyncio.timeout(PATIENCE_S):
            token = await _first_token(data / "admin-token", process)
            async with AsyncClient(url, token=token) as client:
                await _register(client, models, servers)
                await _until_converged(client, len(servers))
        async with AsyncClient(url, token=token) as client:
            yield ControlPlane(url, token, client, process, data / "control-plane.db")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config_text(models: Mapping[str, Path]) -> str:
    versions = " ".join(f"versions: {version}" for version in VERSIONS)
    entries = "\n".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" '
        f"model_version_policy {{ specific {{ {versions} }} }} }}"
        for name, path in models.items()
    )
    return f"model_config_list {{ {entries} }}\n"


async def _answers(server: DevServer) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)


async def _first_token(file: Path, process: psutil.Popen) -> str:
    while not (text := _text_of(file)):
        if process.poll() is not None:
            raise ChildProcessError(f"the control plane ended with code {process.returncode}")
        await asyncio.sleep(0.05)
    return text.strip()


def _text_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


async def _register(
    client: AsyncClient, models: Mapping[str, Path], servers: Sequence[DevServer]
) -> None:
    await _until_ready(client)
    await asyncio.gather(*(_deploy(client, name, path) for name, path in models.items()))
    for server in servers:
        spec = ServerSpec(server.address, name=server.name, take_over=True, flags=_FLAGS)
        await client.send(calls.add_server(FLEET, spec))


async def _deploy(client: AsyncClient, name: str, base_path: Path) -> None:
    await client.send(calls.add_model(name, str(base_path)))
    await client.send(calls.scan(name))
    spec = DeploymentSpec(VERSIONS, {"stable": 1}, force=True)
    await client.send(calls.deploy(FLEET, name, spec))


async def _until_ready(client: AsyncClient) -> None:
    while True:
        with suppress(ClientError):
            await client.send(calls.ready())
            return
        await asyncio.sleep(0.05)


async def _until_converged(client: AsyncClient, count: int) -> None:
    while True:
        servers = (await client.send(calls.servers(FLEET)))["items"]
        settled = [one for one in servers if one["status"] == "ready"]
        live = (await client.send(calls.rollouts(FLEET)))["items"]
        if len(settled) == count and not any(one["live"] for one in live):
            return
        await asyncio.sleep(0.2)


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU time that a process has used."""
    used = process.cpu_times()
    return float(used.user + used.system)


def clock_s() -> float:
    """Return a time to measure spans with."""
    return time.perf_counter()
