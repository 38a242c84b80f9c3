from control_plane.domain.standing import Status
from tests.scenario.stage import Resolved, Stage


async def test_a_deployed_model_is_served_by_label_and_goes_forward_and_back(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    await stage.done(await stage.promote("half_plus_two", 2))
    assert await stage.label("a", "half_plus_two") == Resolved(2)
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE", 2: "AVAILABLE"}
    await stage.done(await stage.rollback("half_plus_two"))
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    await stage.settles("a", Status.READY)


async def test_the_label_moves_on_both_servers_and_the_versions_go_back_one_by_one(
    stage: Stage,
) -> None:
    await stage.model("half_plus_two", 1, 2, 3)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    for version in (2, 3):
        await stage.done(await stage.promote("half_plus_two", version))
    for expected in (2, 1):
        await stage.done(await stage.rollback("half_plus_two"))
        for name in ("a", "b"):
            assert await stage.label(name, "half_plus_two") == Resolved(expected)


async def test_an_undeployed_model_leaves_the_server(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.model("scaled", 1, of="scaled")
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.done(await stage.deploy("scaled", 1, stable=1))
    await stage.done(await stage.undeploy("scaled"))
    assert await stage.states("a", "scaled") == {1: "END"}
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    await stage.done(await stage.undeploy("half_plus_two"))
    assert await stage.states("a", "half_plus_two") == {1: "END"}


async def test_what_happened_is_in_the_journal(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.settles("a", Status.READY)
    states = [one.data["state"] for one in await stage.events("version.state_changed")]
    assert states[-1] == "AVAILABLE"
    reloads = await stage.events("server.reloaded")
    assert [one.data["code"] for one in reloads] == ["OK"] * len(reloads)
    assert any("stable → 1" in one.data["sentence"] for one in reloads)
    assert (await stage.events("server.status_changed"))[-1].data["status"] == "ready"
