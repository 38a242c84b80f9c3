"""What was found on a server is written down, though the database was busy at that moment; what
is desired is read anew whenever it may have changed."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from control_plane import failpoints
from control_plane.domain.standing import Status
from control_plane.reconcile.assignments import Desired
from control_plane.reconcile.desired import DesiredState
from control_plane.reconcile.recorder import DesiredMoved, Entry, Recorder
from control_plane.store import fleets, leases
from tests.scenario.stage import FLEET, Stage, until


@pytest.fixture
async def served(stage: Stage) -> AsyncIterator[Stage]:
    await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.settles("a", Status.READY)
    yield stage
    failpoints.arm("")


async def test_a_status_that_could_not_be_written_is_written_later(served: Stage) -> None:
    async def told() -> list[str]:
        return [one.data["status"] for one in await served.events("server.status_changed")]

    failpoints.arm("record.before_commit=raise@1")
    served.servers["a"].kill()
    await until(told, lambda seen: seen[-1] == "unreachable")
    await served.stop_loop()
    served.servers["a"].start()
    await served.start_loop()
    failpoints.arm("record.before_commit=raise@1")
    await until(told, lambda seen: seen[-1] == "ready")


async def test_a_push_that_was_made_from_an_older_revision_is_not_written(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a")
    async with stage.db.begin() as s:
        lease = await leases.acquire(s, FLEET, "a leader", 60.0)
        before = (await fleets.fleet(s, FLEET)).head
    assert lease is not None
    recorder = Recorder(stage.db)
    await recorder.write(Entry(FLEET, "a", lease.epoch, {"sent": 1}, head=before))
    await stage.deploy("half_plus_two", 1, stable=1)
    with pytest.raises(DesiredMoved):
        await recorder.write(Entry(FLEET, "a", lease.epoch, {"sent": 2}, head=before))
    async with stage.db.read() as s:
        assert await fleets.observed(s, FLEET, "a") == {"sent": 1}


async def test_who_doubts_what_is_desired_gets_a_read_that_began_later(stage: Stage) -> None:
    reads: list[Desired] = []
    desired = DesiredState(stage.db, reads.append)
    with closing(sqlite3.connect(stage.home / "control-plane.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = asyncio.create_task(desired.certain(FLEET))
        for _ in range(3):  # it has begun, and waits
            await asyncio.sleep(0)
        desired.doubt(FLEET)
        after = asyncio.create_task(desired.certain(FLEET))
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
        found = [await before, await after]
    assert len(reads) == 2
    assert [id(one) for one in found] == [id(one) for one in reads]
    await desired.close()
