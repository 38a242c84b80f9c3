"""Everything that a run stands on: dev servers, replicas, a database, and a proxy before each."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx

from control_plane.serving import stubs
from tests.chaos.history import Pen
from tests.chaos.processes import Process, replica, server
from tests.chaos.proxy import Proxy
from tests.chaos.small_disk import SmallDisk, allowed, small_disk
from tests.contract.served import free_port
from tests.databases import Postgres, fresh_database, postgres_server, sqlite_url

FLEET = "default"
LABEL = "stable"
MODELS = ("ranker", "scorer")
PREDICT_S = 2.0
LOST = 0.1  # of the answers of replicas to clients, all the time
GOOD = (1, 2, 3)
BAD = {"ranker": 4, "scorer": 4}  # cannot answer, cannot be loaded
API = "/api/v1"
PATIENCE_S = 60.0
_SAVED = Path(__file__).parents[1] / "models"
_SOCKET = ".s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class Setup:
    """How large a run is."""

    seed: int = 1
    seconds: float = 45.0
    servers: int = 4
    replicas: int = 1
    store: str = "sqlite"
    rate: float = 40.0  # predictions a second, over all servers
    clients: int = 5
    calm: bool = False  # nothing goes wrong


@dataclass(slots=True)
class Placed:
    """A process with the proxy before it."""

    process: Process
    port: int
    proxy: Proxy

    @property
    def name(self) -> str:
        return self.process.name


@dataclass(slots=True)
class Ground:
    """What runs, where it is reached, and who writes the history."""

    setup: Setup
    home: Path
    pen: Pen
    servers: list[Placed] = field(default_factory=list)
    replicas: list[Placed] = field(default_factory=list)
    database: Proxy | None = None  # of a PostgreSQL
    postgres: Postgres | None = None
    disk: SmallDisk | None = None  # of a SQLite, where one can be made

    @property
    def files(self) -> list[Path]:
        """The parts of the history."""
        return sorted(self.home.glob("*.jsonl"))

    def http(self, timeout_s: float = 5.0) -> httpx.AsyncClient:
        """A client for any replica; connections are kept for their next use."""
        return httpx.AsyncClient(timeout=timeout_s, trust_env=False)

    def proxies(self) -> Iterator[Proxy]:
        """Every proxy of the run."""
        yield from (one.proxy for one in (*self.servers, *self.replicas))
        if self.database is not None:
            yield self.database


def api_of(placed: Placed, *, through_proxy: bool = False) -> str:
    """The URL of a replica's API."""
    return f"http://127.0.0.1:{placed.proxy.port if through_proxy else placed.port}{API}"


@asynccontextmanager
async def standing(setup: Setup, home: Path) -> AsyncIterator[Ground]:
    """Run everything while the block does; the first deployments are done when it begins."""
    _make_models(home / "models")
    async with AsyncExitStack() as stack:
        ground = Ground(setup, home, Pen(home / "harness.jsonl"))
        stack.callback(ground.pen.close)
        url = stack.enter_context(_database(setup, home, ground))
        if ground.postgres is not None:
            url = await _behind(stack, ground, url)
        for number in range(setup.servers):
            await _add_server(stack, ground, number)
        for number in range(setup.replicas):
            await _add_replica(stack, ground, number, url)
        names = {one.name: f"server:{one.port}" for one in ground.servers}
        flagged = [one.name for n, one in enumerate(ground.servers) if _takes_labels(n)]
        ground.pen.write("runner", "run", seed=setup.seed, servers=names, flagged=flagged)
        await _deploy(ground)
        ground.pen.write("runner", "setup.done")
        yield ground


def _make_models(folder: Path) -> None:
    for model in MODELS:
        shutil.copytree(_SAVED / "half_plus_two", folder / model)
    shutil.copytree(_SAVED / "no_variables" / "1", folder / "ranker" / "4")
    shutil.copytree(_SAVED / "corrupt" / "1", folder / "scorer" / "4")


@contextmanager
def _database(setup: Setup, home: Path, ground: Ground) -> Iterator[str]:
    if setup.store == "sqlite" and (setup.calm or not allowed()):
        yield sqlite_url(home)
        return
    if setup.store == "sqlite":
        with small_disk(home / "disk") as disk:
            ground.disk = disk
            yield sqlite_url(disk.folder)
            shutil.copy2(disk.folder / "control-plane.db", home)
        return
    with postgres_server() as postgres, fresh_database(postgres) as url:
        ground.postgres = postgres
        yield url


async def _behind(stack: AsyncExitStack, ground: Ground, url: str) -> str:
    """Put a proxy before PostgreSQL."""
    assert ground.postgres is not None
    front = ground.home / "pg"
    front.mkdir()
    there = f"{ground.postgres.socket_dir}/{_SOCKET}"
    ground.database = await _proxied(stack, ground, str(front / _SOCKET), there)
    return url.replace(ground.postgres.socket_dir, str(front))


async def _proxied(
    stack: AsyncExitStack, ground: Ground, listen: Any, to: Any, loses: float = 0.0
) -> Proxy:
    proxy = await Proxy(listen, to, ground.setup.seed, loses).start()
    stack.push_async_callback(proxy.close)
    return proxy


async def _add_server(stack: AsyncExitStack, ground: Ground, number: int) -> None:
    port = free_port()
    labels = ["--allow_version_labels_for_unavailable_models"] if _takes_labels(number) else []
    flags = [*labels, f"--num_load_threads={_load_threads(number)}"]
    process = server(f"s{number}", port, ground.home, *flags)
    await _place(stack, ground, ground.servers, process, port)


async def _add_replica(stack: AsyncExitStack, ground: Ground, number: int, url: str) -> None:
    port = free_port()
    process = replica(f"r{number}", port, ground.home, url)
    await _place(stack, ground, ground.replicas, process, port)


async def _place(
    stack: AsyncExitStack, ground: Ground, among: list[Placed], process: Process, port: int
) -> None:
    stack.callback(process.kill)
    process.start()
    loses = LOST if among is ground.replicas and not ground.setup.calm else 0.0
    proxy = await _proxied(stack, ground, ("127.0.0.1", 0), ("127.0.0.1", port), loses)
    among.append(Placed(process, port, proxy))


async def _deploy(ground: Ground) -> None:
    """Register everything, and deploy versions 1 and 2 of each model with `stable` on 1."""
    first = api_of(ground.replicas[0])
    async with ground.http(30) as http:
        await until_ready(http, ground.replicas)
        for model in MODELS:
            body = {"name": model, "base_path": str(ground.home / "models" / model)}
            await _sent(http, "POST", f"{first}/models", body)
            await _sent(http, "POST", f"{first}/models/{model}/versions:scan", {})
            await _registered(http, first, model)
        for number, one in enumerate(ground.servers):
            await _sent(http, "POST", f"{first}/fleets/{FLEET}/servers", _spec(number, one))
        for model in MODELS:
            wanted = {"versions": [1, 2], "labels": {"stable": 1}, "force": True}
            there = f"{first}/fleets/{FLEET}/deployments/{model}"
            await _sent(http, "PUT", there, wanted)
        await until_converged(http, ground)


def _takes_labels(number: int) -> bool:
    return bool(number % 2)


def _load_threads(number: int) -> int:
    return 2 if number % 4 > 1 else 0


def _spec(number: int, one: Placed) -> Mapping[str, Any]:
    flags: dict[str, Any] = {"file_system_poll_wait_seconds": 1, "max_num_load_retries": 0}
    flags["num_load_threads"] = _load_threads(number)
    flags["allow_version_labels_for_unavailable_models"] = _takes_labels(number)
    address = f"127.0.0.1:{one.proxy.port}"
    return {"address": address, "name": one.name, "take_over": True, "flags": flags}


async def _registered(http: httpx.AsyncClient, first: str, model: str) -> None:
    """Register the version that a scan does not take, too."""
    body = {"version": BAD[model], "force": True}
    answer = await http.post(f"{first}/models/{model}/versions", json=body)
    assert answer.status_code in (200, 201, 409), answer.text


async def _sent(http: httpx.AsyncClient, method: str, url: str, body: Any) -> None:
    answer = await http.request(method, url, json=body)
    assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"


async def until_ready(http: httpx.AsyncClient, replicas: Sequence[Placed]) -> None:
    """Wait until every replica answers."""
    async with asyncio.timeout(PATIENCE_S):
        for one in replicas:
            while not await _ready(http, one):
                await asyncio.sleep(0.05)


async def _ready(http: httpx.AsyncClient, one: Placed) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{one.port}/readyz")).is_success
    except httpx.HTTPError:
        return False


async def until_converged(http: httpx.AsyncClient, ground: Ground) -> None:
    """Wait until every deployment has what it should have, everywhere.

    Raises:
        TimeoutError: it never had.
    """
    async with asyncio.timeout(PATIENCE_S):
        while await unsettled(http, ground):
            await asyncio.sleep(0.05)


async def unsettled(http: httpx.AsyncClient, ground: Ground) -> list[str]:
    """Say what is not as it should be yet: as every replica tells, and as the servers answer."""
    found: list[str] = []
    wanted: dict[str, int] = {}
    for one in ground.replicas:
        try:
            answer = await http.get(f"{api_of(one)}/fleets/{FLEET}/deployments")
            answer.raise_for_status()
        except httpx.HTTPError as error:
            return [f"{one.name}: {error!r}"]
        found += [
            f"{one.name}: {each['model']}: {each['status']['sentence']}"
            for each in answer.json()["items"]
            if each["rollout"] or each["status"]["phase"] != "converged"
        ]
        wanted = {each["model"]: each["labels"][LABEL] for each in answer.json()["items"]}
    return found or [one async for one in _otherwise(ground, wanted)]


async def _otherwise(ground: Ground, wanted: Mapping[str, int]) -> AsyncIterator[str]:
    """Ask the servers themselves where the label points, and yield what is wrong."""
    for one in ground.servers:
        async with calls_of(one) as predictions:
            for model, version in wanted.items():
                told = await answer_of(predictions, model)
                if told != version:
                    yield f"{one.name}: {LABEL} of {model} is {told}, not {version}"


@asynccontextmanager
async def calls_of(one: Placed) -> AsyncIterator[Any]:
    """The calls of a server, past its proxy."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    options += [(f"grpc.{each}_reconnect_backoff_ms", 100) for each in ("initial", "min", "max")]
    address = f"127.0.0.1:{one.port}"
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield stubs.PredictionServiceStub(channel)


async def answer_of(predictions: Any, model: str) -> int | str:
    """Ask a model by the label; return the version that answered, or the code and why."""
    asked = stubs.PredictRequest()
    asked.model_spec.name, asked.model_spec.version_label = model, LABEL
    try:
        answer = await predictions.Predict(asked, timeout=PREDICT_S)
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name}: {(error.details() or '')[:200]}"
    return int(answer.model_spec.version.value)
