"""Several replicas on one PostgreSQL: who leads what, and what all of them know."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane import bootstrap, settings
from control_plane.reconcile.loop import Options, Reconciler
from control_plane.serving.client import GrpcModelServer
from control_plane.store import notices
from control_plane.store.database import Database
from tests.databases import Postgres, fresh_database, postgres_server
from tests.scenario.stage import MODELS, DevServer, Resolved, Stage, now, until

HALF = "/fleets/default/deployments/half_plus_two"
STABLE = "/fleets/default/models/half_plus_two/labels/stable"
LASTING: dict[str, Any] = {"lease_ttl_s": 120.0, "lease_renew_s": 0.3}  # nobody waits for its end


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with fresh_database(postgres) as found:
        yield found


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Servers that run beside each other would give each other's handlers back."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@dataclass
class Replica:
    http: httpx.AsyncClient
    stack: AsyncExitStack

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        return answer.json()

    async def ok(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def leads(self) -> str:
        """What it says of the leases."""
        root = str(self.http.base_url).removesuffix("/api/v1/")
        return str((await self.get(f"{root}/readyz?verbose"))["checks"]["leases"])

    async def end(self) -> None:
        await self.stack.aclose()


@asynccontextmanager
async def replica(url: str, home: Path, **more: Any) -> AsyncIterator[Replica]:
    """A whole control plane in this process, as `tfsctl serve` makes it."""
    where = {"database_url": url, "port": 0, "auth": "off", "data_dir": home}
    given = settings.load(**where, **(more or LASTING))
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(bootstrap.running(given))
        client = httpx.AsyncClient(base_url=f"{control.url}/api/v1", timeout=20)
        yield Replica(await stack.enter_async_context(client), stack)


@pytest.fixture
def dev_server(tmp_path: Path) -> Iterator[DevServer]:
    server = DevServer("a", tmp_path, {})
    server.start()
    yield server
    server.kill()


async def deployed(on: Replica, server: DevServer) -> None:
    """Have half_plus_two 1 and 2 served, `stable` on 1."""
    body = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
    await on.ok("POST", "/models", body)
    await on.ok("POST", "/models/half_plus_two/versions:scan")
    told = {"address": server.address, "name": "a", "take_over": True}
    await on.ok("POST", "/fleets/default/servers", told)
    wanted = {"versions": [1, 2], "labels": {"stable": 1}, "force": True}
    await finished(on, await on.ok("PUT", HALF, wanted))


async def finished(on: Replica, started: Any) -> None:
    async def phase() -> str:
        return str((await on.get(f"/rollouts/{started['rollout']['id']}"))["phase"])

    assert await until(phase, lambda one: one not in ("pending", "progressing")) == "succeeded"


async def test_fleets_are_spread_over_replicas_and_those_of_one_that_ends_are_taken_at_once(
    url: str, tmp_path: Path
) -> None:
    async with replica(url, tmp_path) as one:
        for name in ("eu", "us", "asia"):
            await one.ok("POST", "/fleets", {"name": name})
        await until(one.leads, lambda seen: "leads 4 of 4" in seen)
        async with replica(url, tmp_path) as two:
            await until(one.leads, lambda seen: "leads 2 of 4 fleets; replicas: 2" in seen)
            await until(two.leads, lambda seen: "leads 2 of 4" in seen)
            await two.ok("POST", "/fleets", {"name": "africa"})
            async with replica(url, tmp_path) as three:
                await until(three.leads, lambda seen: "replicas: 3" in seen)
                await until(lambda: _counts(one, two, three), lambda seen: seen == [1, 2, 2])
            await until(one.leads, lambda seen: "replicas: 2" in seen)
        await until(one.leads, lambda seen: "leads 5 of 5 fleets; replicas: 1" in seen)


async def _counts(*replicas: Replica) -> list[int]:
    """How many fleets each leads, the fewest first."""
    return sorted([int((await one.leads()).split()[2]) for one in replicas])


async def test_whoever_does_not_lead_is_read_written_to_and_followed_all_the_same(
    url: str, tmp_path: Path, dev_server: DevServer
) -> None:
    async with replica(url, tmp_path) as leader, replica(url, tmp_path) as other:
        await until(leader.leads, lambda seen: "replicas: 2" in seen)
        assert "leads 0" in await other.leads()
        await deployed(other, dev_server)
        (seen,) = (await other.get("/fleets/default/servers"))["items"]
        assert (seen["status"], bool(seen["last_seen_at"])) == ("ready", True)
        assert (await other.get("/fleets/default/status"))["servers"] == [seen]
        async with other.http.stream("GET", "/events:stream") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == ": following"
            await finished(other, await leader.ok("POST", f"{HALF}:promote", {"version": 2}))
            told = [json.loads(one[6:]) async for one in _until_ended(lines)]
        assert told[-1]["data"]["phase"] == "succeeded"
        assert [one["seq"] for one in told] == sorted({one["seq"] for one in told})
        for each in (leader, other):
            await until(partial(each.get, STABLE), lambda got: got["servers_serving"] == 1)
            assert (await each.get(STABLE))["version"] == 2
            path = "/fleets/default/servers/a/ready?model=half_plus_two&label=stable"
            assert (await each.get(path))["ready"] is True


async def _until_ended(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("data: "):
            yield line
            if '"rollout.ended"' in line:
                return


async def test_whoever_wrote_reads_what_it_wrote_at_once(url: str, tmp_path: Path) -> None:
    async with replica(url, tmp_path) as one, replica(url, tmp_path) as other:
        body = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
        await other.ok("POST", "/models", body)
        await other.ok("POST", "/models/half_plus_two/versions:scan")
        for stable in (1, 2, 1, 2):
            wanted = {"versions": [1, 2], "labels": {"stable": stable}, "force": True}
            await other.ok("PUT", HALF, wanted)
            assert (await other.get(STABLE))["version"] == stable
        await until(lambda: one.get(STABLE), lambda seen: seen.get("version") == 2)


async def test_while_the_database_is_away_a_replica_lives_answers_with_an_age_and_comes_back(
    postgres: Postgres, url: str, tmp_path: Path
) -> None:
    name = url.partition("?")[0].rpartition("/")[2]

    async def statuses(on: Replica) -> list[int]:
        root = str(on.http.base_url).removesuffix("/api/v1/")
        return [(await on.http.get(f"{root}/{path}")).status_code for path in ("livez", "readyz")]

    async def age(on: Replica) -> str:
        answer = await on.http.get(STABLE)
        assert answer.json()["version"] == 1
        return str(answer.headers.get("age", ""))

    async with replica(url, tmp_path) as one:
        body = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
        await one.ok("POST", "/models", body)
        await one.ok("POST", "/models/half_plus_two/versions:scan")
        wanted = {"versions": [1], "labels": {"stable": 1}, "force": True}
        await one.ok("PUT", HALF, wanted)
        assert await age(one) == ""
        await asyncio.to_thread(
            postgres.execute, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"
        )
        ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        await asyncio.to_thread(postgres.execute, ended)
        await until(partial(age, one), lambda seen: seen != "")
        await until(partial(statuses, one), lambda seen: seen == [200, 503])
        await asyncio.to_thread(
            postgres.execute, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"
        )
        await until(partial(statuses, one), lambda seen: seen == [200, 200])
        await until(partial(age, one), lambda seen: seen == "")
        assert "leads 1 of 1" in await one.leads()


async def test_a_write_elsewhere_wakes_the_leader_without_any_polling(
    url: str, tmp_path: Path
) -> None:
    never = Options(observe_interval_s=3600, sweep_s=3600, resync_s=3600, holder="leader")
    stage = Stage(tmp_path)
    await stage.db.close()
    stage.db = Database.open(url)
    led = Database.open(url)
    loop = Reconciler(led, GrpcModelServer, now, never)
    await loop.start()
    following = asyncio.create_task(notices.follow(led, loop.heard))
    try:
        await stage.model("half_plus_two", 1, 2)
        await stage.server("a")
        await stage.done(await stage.deploy("half_plus_two", 1, 2, stable=1))
        await stage.done(await stage.promote("half_plus_two", 2))
        assert await stage.label("a", "half_plus_two") == Resolved(2)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await loop.stop()
        await led.close()
        await stage.close()
