"""What the rows about scale are measured on: dev machines in crowds, PostgreSQL, replicas."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bench import crowd
from bench.processes import VERSIONS, DevServer, cpu_s, free_port, python
from control_plane.bootstrap import clock
from control_plane.client import AsyncClient, ClientError, calls
from control_plane.client.call import Call
from control_plane.domain.catalog import Model
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.revision import Deployment, Kind
from control_plane.services import catalog
from control_plane.services.commit import nothing_more
from control_plane.store import fleets, revisions, rollouts
from control_plane.store.database import Database

FLEETS = 10
REPLICAS = 2
PATIENCE_S = 400.0
_ACTOR = "bench"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Dev machines of one process."""

    process: psutil.Popen
    servers: list[DevServer]
    socket: Path

    async def ask(self, question: str) -> dict[str, Any]:
        """Ask what the machines saw."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=1 << 24)
        writer.write(f"{question}\n".encode())
        told: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return told

    async def stable(self, model: str, version: int) -> float:
        """Return when `stable` of a model came to a version on the last of all machines."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                told = await self.ask(f"{model} {version}")
                if told["count"] == len(self.servers):
                    return float(told["at"])
                await asyncio.sleep(0.05)


@asynccontextmanager
async def crowd_of(home: Path, name: str, count: int, models: Path) -> AsyncIterator[Crowd]:
    """Run so many machines, each with every model that lies in the folder loaded."""
    socket = home / name
    ports = socket.with_suffix(".ports")
    words = ("-m", "bench.crowd", str(count), str(models), str(socket))
    with python(home / f"{name}.log", *words) as process:
        async with asyncio.timeout(PATIENCE_S):
            while not (ports.exists() and ports.read_text().endswith("]")):
                _check_alive(process)
                await asyncio.sleep(0.05)
        found = enumerate(json.loads(ports.read_text()))
        servers = [DevServer(f"{name}-{n:04}", f"127.0.0.1:{port}") for n, port in found]
        yield Crowd(process, servers, socket)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Control planes on one database, and the fleets that they serve."""

    processes: Sequence[psutil.Popen]
    clients: Sequence[AsyncClient]
    fleets: Sequence[str]

    @property
    def cpu_s(self) -> list[float]:
        """The CPU time that each has used."""
        return [cpu_s(one) for one in self.processes]

    @property
    def resident(self) -> list[int]:
        """The memory of each, in bytes."""
        return [one.memory_info().rss for one in self.processes]

    async def led(self) -> list[int]:
        """How many fleets each leads."""
        asked: Call[Any] = Call("GET", "/readyz", query={"verbose": "true"})
        checks = [(await one.send(asked))["checks"]["leases"] for one in self.clients]
        return [int(text.partition("leads ")[2].split()[0]) for text in checks]


@asynccontextmanager
async def replicas(home: Path, url: str, count: int = REPLICAS) -> AsyncIterator[Replicas]:
    """Run control planes on a database."""
    async with AsyncExitStack() as running:
        processes, clients = [], []
        for number in range(count):
            port = free_port()
            settings = {
                "TFSCTL_DATABASE_URL": url,
                "TFSCTL_DATA_DIR": str(home),
                "TFSCTL_PORT": str(port),
                "TFSCTL_AUTH": "off",
                "TFSCTL_LOG_FORMAT": "json",
            }
            made = python(
                home / f"replica-{number}.log", "-m", "control_plane", "serve", **settings
            )
            processes.append(running.enter_context(made))
            client = AsyncClient(f"http://127.0.0.1:{port}", timeout_s=120)
            clients.append(await running.enter_async_context(client))
        found = Replicas(processes, clients, fleet_names())
        async with asyncio.timeout(PATIENCE_S):
            for process, client in zip(processes, clients, strict=True):
                await _until_ready(client, process)
        yield found


async def register(url: str, models: Mapping[str, Path], servers: Sequence[DevServer]) -> None:
    """Write down before anybody serves it: every model on every fleet, and the servers' shares."""
    db = Database.open(url)
    flags = ServerFlags(**crowd.FLAGS)  # type: ignore[arg-type]
    now = clock()
    try:
        for name, path in models.items():
            model = Model(name, str(path), now, _ACTOR)
            await catalog.create_model(db, model, force=False, commit=nothing_more)
            await catalog.scan(db, name, actor=_ACTOR, now=now, commit=nothing_more)
        for number, fleet in enumerate(fleet_names()):
            async with db.begin() as s:
                await fleets.add_fleet(s, Fleet(fleet, now))
                deployed = {
                    one: Deployment(one, frozenset(VERSIONS), {"stable": 1}) for one in models
                }
                made = await revisions.append(
                    s,
                    fleet,
                    kind=Kind.DEPLOY,
                    actor=_ACTOR,
                    reason="",
                    changes=deployed,
                    expected=dict.fromkeys(deployed, 0),
                    now=now,
                )
                for name in models:  # or version 1 would not be kept when 2 takes its place
                    await rollouts.verify_label(s, fleet, name, "stable", 1, made.number, now)
                for one in servers[number::FLEETS]:
                    server = Server(fleet, one.name, one.address, now, taken_over=True, flags=flags)
                    await fleets.add_server(s, replace(server, taken_over_at=now))
    finally:
        await db.close()


def fleet_names() -> list[str]:
    """Return the names of the fleets."""
    return [f"fleet-{number:02}" for number in range(FLEETS)]


async def quiet(ours: Replicas) -> None:
    """Wait until no rollout is live."""
    async with asyncio.timeout(PATIENCE_S):
        for fleet in ours.fleets:
            while await _is_live(ours.clients[0], fleet):  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.1)


async def _is_live(client: AsyncClient, fleet: str) -> bool:
    found = (await client.send(calls.rollouts(fleet)))["items"]
    return any(one["live"] for one in found)


async def _until_ready(client: AsyncClient, process: psutil.Popen) -> None:
    while True:
        try:
            await client.send(calls.ready())
        except ClientError:
            _check_alive(process)
            await asyncio.sleep(0.05)
        else:
            return


def _check_alive(process: psutil.Popen) -> None:
    if process.poll() is not None:
        raise ChildProcessError(f"{process} ended")
