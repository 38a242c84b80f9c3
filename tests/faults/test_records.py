"""What was found on a server is written down, though the database was busy at that moment."""

from collections.abc import AsyncIterator

import pytest

from control_plane import failpoints
from control_plane.domain.standing import Status
from tests.scenario.stage import Stage, until


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
