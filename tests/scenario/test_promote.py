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
