"""`tfsctl up`: example models, dev servers and the control plane, in one command, on one machine.

Everything lives under the data dir, and every step is done only where it is not done yet, so that a
second start goes on from the first. Whatever was started here ends with it.
"""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import uvloop

import control_plane
from control_plane import bootstrap, telemetry
from control_plane.client import ApiError, AsyncClient, Call, calls
from control_plane.client.answers import Deployment
from control_plane.client.calls import DeploymentSpec, ServerSpec
from control_plane.domain.errors import ArtifactMissing, Transient
from control_plane.domain.state import Resolved
from control_plane.serving.client import GrpcModelServer
from control_plane.settings import Settings

log = structlog.get_logger()
T = TypeVar("T")
DEFAULT_URL: Final = "http://127.0.0.1:8080"
FLEET: Final = "default"
MODELS: Final[Mapping[str, tuple[int, ...]]] = {"half_plus_two": (1, 2, 3), "sentiment": (1, 2)}
FLAGS: Final[Mapping[str, bool | int]] = {
    "allow_version_labels_for_unavailable_models": True,
    "file_system_poll_wait_seconds": 1,
    "max_num_load_retries": 1,  # by default a broken version takes five minutes to fail
    "load_retry_interval_micros": 1_000_000,
}
_FIRST_PORT: Final = 8500
_POLL_S: Final = 0.05
_ASK_S: Final = 1.0
_PATIENCE_S: Final = 90.0  # for the models to be made, and for files to be hashed
_END_S: Final = 5.0
_LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@dataclass(frozen=True, slots=True)
class DevServer:
    """One dev server of ours."""

    name: str
    port: int

    @property
    def address(self) -> str:
        """Where its gRPC listens."""
        return f"127.0.0.1:{self.port}"


def up(settings: Settings, servers: int) -> None:
    """Run everything until it is told to end."""
    home = settings.data_dir.absolute()
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with (home / "logs" / "control-plane.log").open("a") as out:
        telemetry.configure_logging(settings.log_level, settings.log_format, out)
        uvloop.run(_up(settings, home, servers))


async def _up(settings: Settings, home: Path, count: int) -> None:
    bootstrap.end_by_signals_in_order()
    fleet = _placed(home, count)
    async with _children() as children, bootstrap.running(settings) as control:
        setting_up = asyncio.create_task(_set_up(children, control.url, home, fleet))
        await asyncio.wait((setting_up, control.ended), return_when=asyncio.FIRST_COMPLETED)
        if control.ended.done():
            setting_up.cancel()
            with suppress(asyncio.CancelledError):
                await setting_up
            return
        setting_up.result()
        _tell(_next_steps(control.url, home, fleet))
        await control.ended
        _tell("ending")


class Children:
    """The processes that were started here."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self, name: str, log_file: Path, *arguments: str) -> asyncio.subprocess.Process:
        """Start Python with these arguments; its output goes to a log file."""
        with log_file.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_dying_with_us(arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for us alone; we end them in order
            )
        self._running[name] = process
        return process

    def watch(self, name: str) -> None:
        """Say so if this one ends before it is told to; it is not started again."""
        self._watches.add(asyncio.create_task(self._report_end(name)))

    async def end(self) -> None:
        """End all of them, and kill those that do not."""
        for task in self._watches:
            task.cancel()
        live = [one for one in self._running.values() if one.returncode is None]
        for process in live:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in live:
            try:
                await asyncio.wait_for(process.wait(), _END_S)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _report_end(self, name: str) -> None:
        code = await self._running[name].wait()
        log.warning("a dev server ended", server=name, exit_code=code)
        _tell(f"{name} ended with code {code}; it is left so, the others go on")


@asynccontextmanager
async def _children() -> AsyncIterator[Children]:
    children = Children()
    try:
        yield children
    finally:
        await children.end()


async def _set_up(children: Children, url: str, home: Path, fleet: Sequence[DevServer]) -> None:
    models = home / "models"
    _tell(f"starting {len(fleet)} dev servers; the first time, example models are made too")
    for server in fleet:
        await _start_server(children, home, server)
    await _make_models(children, home, models)
    async with AsyncClient(url) as client:
        for server in fleet:
            await _register_server(client, server)
        for model, versions in MODELS.items():
            await _register_model(client, models / model, versions)
            await _deploy(client, model)
        await _until_live(client, fleet)


async def _start_server(children: Children, home: Path, server: DevServer) -> None:
    config = home / f"{server.name}.config"
    config.write_text("model_config_list {}\n")
    flags = (f"--{name}={str(value).lower()}" for name, value in FLAGS.items())
    await children.start(
        server.name,
        home / "logs" / f"{server.name}.log",
        "-m",
        "control_plane.devserver",
        f"--port={server.port}",
        f"--model_config_file={config}",
        *flags,
    )
    children.watch(server.name)


async def _make_models(children: Children, home: Path, models: Path) -> None:
    wanted = [models / name / str(one) for name, versions in MODELS.items() for one in versions]
    if all(folder.exists() for folder in wanted):
        return
    script = Path(control_plane.__file__).parent.parent / "examples" / "make_models.py"
    if not script.exists():
        raise ArtifactMissing(f"{script} makes the example models, and it is not there")
    output = home / "logs" / "make-models.log"
    maker = await children.start("make-models", output, str(script), str(models))
    code = await asyncio.wait_for(maker.wait(), _PATIENCE_S)
    if code != 0:
        raise ArtifactMissing(f"making the example models failed; {output} says why")


async def _register_server(client: AsyncClient, server: DevServer) -> None:
    spec = ServerSpec(server.address, name=server.name, take_over=True, flags=FLAGS)
    known = await _there(
        client, calls.server(FLEET, server.name), else_make=calls.add_server(FLEET, spec)
    )
    if known["address"] != server.address:
        await client.send(calls.change_server(FLEET, server.name, address=server.address))


async def _register_model(client: AsyncClient, base_path: Path, versions: Sequence[int]) -> None:
    """Register a model and its versions, and wait until the files are hashed."""
    name = base_path.name
    await _there(client, calls.model(name), else_make=calls.add_model(name, str(base_path)))
    await client.send(calls.scan(name))
    async with asyncio.timeout(_PATIENCE_S):
        for number in versions:
            await _until(partial(_is_hashed, client, name, number))


async def _there(client: AsyncClient, look: Call[T], *, else_make: Call[T]) -> T:
    try:
        return await client.send(look)
    except ApiError as error:
        if error.status != 404:
            raise
    return await client.send(else_make)


async def _is_hashed(client: AsyncClient, model: str, number: int) -> bool:
    version = await client.send(calls.version(model, number))
    return version["digest"] != "pending"


async def _deploy(client: AsyncClient, model: str) -> None:
    """Deploy a model, unless somebody has: what was undeployed by hand stays so."""
    if not [one async for one in client.items(calls.history(FLEET, model))]:
        spec = DeploymentSpec([1], {"stable": 1}, reason="quick start")
        await client.send(calls.deploy(FLEET, model, spec))


async def _until_live(client: AsyncClient, fleet: Sequence[DevServer]) -> None:
    """Ask the servers themselves until each label answers on each with the version it should."""
    for server in fleet:
        asked = GrpcModelServer(server.address)
        try:
            await _until(partial(_all_labels_answer, client, asked))
        finally:
            await asked.close()
    await _until(partial(_stands_still, client))  # the first promotion finds nothing in its way


async def _all_labels_answer(client: AsyncClient, server: GrpcModelServer) -> bool:
    for deployment in await _examples(client):
        for label, version in deployment["labels"].items():
            try:
                answer = await server.label(deployment["model"], label, timeout_s=_ASK_S)
            except Transient:
                return False
            if answer != Resolved(version):
                return False
    return True


async def _stands_still(client: AsyncClient) -> bool:
    return all(one["rollout"] is None for one in await _examples(client))


async def _examples(client: AsyncClient) -> list[Deployment]:
    found = [one async for one in client.items(calls.deployments(FLEET))]
    return [one for one in found if one["model"] in MODELS]


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    while not await true():  # noqa: ASYNC110 - it becomes true in other processes
        await asyncio.sleep(_POLL_S)


def _placed(home: Path, count: int) -> list[DevServer]:
    """Give every dev server a port: the one it had, while that is free."""
    file = home / "up.json"
    ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    taken: set[int] = set()
    for number in range(1, count + 1):
        name = f"dev-{number}"
        wanted = ports.get(name, _FIRST_PORT + number - 1)
        ports[name] = wanted if wanted not in taken and _is_free(wanted) else _free_port()
        taken.add(ports[name])
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(ports))
    aside.rename(file)
    return [DevServer(f"dev-{number}", ports[f"dev-{number}"]) for number in range(1, count + 1)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _dying_with_us(arguments: Sequence[str]) -> Sequence[str]:
    """Have the kernel end a child when we are killed without a chance to do it.

    It asks for that itself: Python that runs in a fork of a process with gRPC threads may crash.
    """
    return arguments if sys.platform != "linux" else ("-c", _LAUNCH, str(os.getpid()), *arguments)


def _next_steps(url: str, home: Path, fleet: Sequence[DevServer]) -> str:
    api = f"{url}/api/v1/fleets/{FLEET}/models"
    tfsctl = _command(url)
    words = '{"inputs": {"words": [["很", "喜欢"]], "nwords": [2]}}'
    servers = ", ".join(f"{one.name} at {one.address}" for one in fleet)
    return f"""
ready: {url}   model servers: {servers}   logs: {home / "logs"}

Ask, promote, ask again, go back:
  curl -s {api}/half_plus_two/labels/stable:predict -d '{{"instances": [1.0, 2.0]}}'
  {tfsctl} promote half_plus_two 2
  curl -s {api}/half_plus_two/labels/stable
  {tfsctl} rollback half_plus_two
  {tfsctl} predict sentiment --label stable '{words}'
  {tfsctl} status

See it, and do the same in a browser: {url}/

Ctrl-C ends all of it; the next start goes on from here."""


def _command(url: str) -> str:
    """How to call `tfsctl` from here, so that the lines that are shown can be copied."""
    beside = Path(sys.executable).with_name("tfsctl")
    at_home = beside.is_relative_to(Path.cwd())
    where = str(beside.relative_to(Path.cwd()) if at_home else beside)
    name = "tfsctl" if shutil.which("tfsctl") else where
    return name if url == DEFAULT_URL else f"{name} --server {url}"


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
