"""Who may write: one process at a time, and none that lost its lease or its database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace

from control_plane.domain.leasing import Terms
from control_plane.domain.standing import Status
from control_plane.reconcile.leader import Leadership
from control_plane.reconcile.loop import Reconciler
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import FAST, FLEET, Resolved, Stage, now, until


async def served(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, 2, stable=1))


@asynccontextmanager
async def locked(stage: Stage) -> AsyncIterator[None]:
    """Another program holds the database's write lock."""
    with closing(database(stage)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def database(stage: Stage) -> sqlite3.Connection:
    """Another program's connection; it waits in a thread, or the loop could not end its own."""
    file = stage.home / "control-plane.db"
    return sqlite3.connect(file, isolation_level=None, timeout=10, check_same_thread=False)


async def test_of_two_control_planes_one_writes_and_the_other_takes_over(stage: Stage) -> None:
    await served(stage)
    options = replace(FAST, holder="second")
    second = Reconciler(stage.db, GrpcModelServer, now, options)
    await second.start()
    try:
        await stage.done(await stage.promote("half_plus_two", 2))
        before = await stage.events("server.reloaded")
        assert [one.data["code"] for one in before] == ["OK"] * len(before)
        await stage.stop_loop()
        rollout = await stage.rollback("half_plus_two")
        await stage.done(rollout)
        assert await stage.label("a", "half_plus_two") == Resolved(1)

        async def status() -> Status:
            return second.view(FLEET)["a"].status

        await until(status, lambda seen: seen is Status.READY)
    finally:
        await second.stop()


async def test_without_its_lease_a_control_plane_pushes_nothing(stage: Stage) -> None:
    await served(stage)
    sent = len(await stage.events("server.reloaded"))
    with closing(database(stage)) as other:
        await asyncio.to_thread(
            other.execute,
            "UPDATE leases SET holder = 'other', epoch = epoch + 1,"
            " expires_at = strftime('%Y-%m-%d %H:%M:%f', 'now', '+3 seconds')",
        )
        rollout = await stage.promote("half_plus_two", 2)
        while other.execute("SELECT holder FROM leases").fetchone() == ("other",):
            assert len(await stage.events("server.reloaded")) == sent
            assert await stage.label("a", "half_plus_two") == Resolved(1)
    await stage.done(rollout)
    assert await stage.label("a", "half_plus_two") == Resolved(2)


async def test_while_the_database_is_locked_nothing_is_sent_and_afterwards_all_is(
    stage: Stage,
) -> None:
    await served(stage)
    stage.servers["a"].kill()
    await stage.settles("a", Status.UNREACHABLE)
    async with locked(stage):
        stage.servers["a"].start()
        await until(lambda: stage.label("a", "half_plus_two"), lambda seen: seen is not None)
        for _ in range(5):
            stage.nudge()
            assert await stage.states("a", "half_plus_two") == {}
    await stage.answers("a", "half_plus_two", 1)


async def test_a_lease_is_counted_from_before_it_was_asked_for(stage: Stage) -> None:
    times, terms, late_s = [100.0], Terms(), 3.0
    leads = Leadership(stage.db, "a", lambda: times[-1], terms)
    await leads.keep()
    assert leads.left_s(FLEET) == terms.demote_s
    async with locked(stage):
        renewing = asyncio.create_task(leads.keep())
        await asyncio.sleep(0)
        times.append(times[-1] + late_s)
    await renewing
    assert leads.left_s(FLEET) == terms.demote_s - late_s
