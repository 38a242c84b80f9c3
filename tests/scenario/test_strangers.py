from collections.abc import Mapping
from typing import ClassVar

from control_plane.domain.errors import DeadlineExpired
from control_plane.domain.standing import Status
from control_plane.domain.state import VersionStatus
from control_plane.reconcile.loop import Reconciler
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import FLEET, Absent, Resolved, Stage, now, until


async def test_a_server_that_nobody_took_over_is_watched_and_left_alone(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.model("scaled", 1, of="scaled")
    await stage.server("a", take_over=False)
    await until(lambda: stage.label("a", "scaled"), lambda seen: seen is not None)
    await stage.start_loop()
    await stage.settles("a", Status.NOT_TAKEN_OVER)
    await stage.foreign("a", "scaled")
    await stage.server("b")
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    assert await stage.label("b", "half_plus_two") == Resolved(1)
    assert await stage.states("a", "half_plus_two") == {}
    assert await stage.states("a", "scaled") == {1: "AVAILABLE"}
    assert {one.server for one in await stage.events("server.reloaded")} == {"b"}
    await until(lambda: stage.sentence("a"), lambda seen: "drops scaled 1" in seen)


async def test_a_config_that_somebody_emptied_is_put_back(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.settles("a", Status.READY)
    await stage.foreign("a")
    assert await stage.label("a", "half_plus_two") == Absent()
    await stage.answers("a", "half_plus_two", 1, 25)
    await stage.settles("a", Status.READY)
    assert await stage.events("server.drifted")


async def test_a_server_that_moves_to_another_address_is_followed(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    old = await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.move("a")
    old.kill()
    await stage.answers("a", "half_plus_two", 1)


async def test_a_server_that_comes_back_to_us_is_asked_about_and_then_taken_over(
    stage: Stage,
) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.forget("a")
    await stage.register("a")
    await stage.settles("a", Status.DRIFTED)
    await stage.take_over("a")
    await stage.settles("a", Status.READY)
    assert await stage.label("a", "half_plus_two") == Resolved(1)


async def test_a_server_that_is_taken_over_gets_what_the_fleet_serves(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.model("scaled", 1, of="scaled")
    await stage.server("a", take_over=False)
    await until(lambda: stage.label("a", "scaled"), lambda seen: seen is not None)
    await stage.foreign("a", "scaled", "half_plus_two")
    await stage.start_loop()
    await stage.deploy("half_plus_two", 1, stable=1)
    await stage.settles("a", Status.NOT_TAKEN_OVER)
    assert await stage.label("a", "half_plus_two") == Absent()
    await stage.take_over("a")
    await stage.answers("a", "half_plus_two", 1)
    await until(lambda: stage.states("a", "scaled"), lambda seen: seen == {1: "END"})
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE"}


async def test_a_version_whose_directory_vanished_comes_back_with_it(stage: Stage) -> None:
    path = await stage.model("half_plus_two", 1, 2)
    await stage.server("a")
    loop = await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, 2, stable=2))
    (path / "1").rename(path / "away")
    gone = {1: "END", 2: "AVAILABLE"}
    await until(lambda: stage.states("a", "half_plus_two"), lambda seen: seen == gone)
    await loop.sweep(FLEET)
    await stage.settles("a", Status.CONVERGING)
    assert await stage.label("a", "half_plus_two") == Resolved(2)
    (path / "away").rename(path / "1")
    await stage.settles("a", Status.READY, 30)
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE", 2: "AVAILABLE"}


class Deaf(GrpcModelServer):
    """Does not hear what servers say of one model, while that is so."""

    to: ClassVar[set[str]] = set()

    async def status(self, model: str, *, timeout_s: float) -> Mapping[int, VersionStatus]:
        if model in self.to:
            raise DeadlineExpired("the answer was lost")
        return await super().status(model, timeout_s=timeout_s)


async def test_what_a_server_has_not_told_yet_is_not_taken_for_absent(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.model("scaled", 1, of="scaled")
    await stage.server("a")
    await until(lambda: stage.label("a", "scaled"), lambda seen: seen is not None)
    await stage.foreign("a", "scaled", "half_plus_two")
    Deaf.to.add("scaled")
    stage.loop = Reconciler(stage.db, Deaf, now, stage.options)
    await stage.loop.start()
    for model in ("half_plus_two", "scaled"):
        await stage.deploy(model, 1, stable=1)
    await until(lambda: stage.sentence("a"), lambda seen: "scaled 1" in seen)
    assert await stage.events("server.reloaded") == ()
    Deaf.to.clear()
    for model in ("half_plus_two", "scaled"):
        await stage.answers("a", model, 1)
    pushed = await stage.events("server.reloaded")
    assert [one.data["names_added"] for one in pushed] == [[]] * len(pushed)
