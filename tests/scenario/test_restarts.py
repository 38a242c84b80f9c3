import signal

from control_plane.domain.rollout import Phase
from control_plane.domain.standing import Status
from tests.scenario.stage import FLEET, Resolved, Stage, until


async def two_servers(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))


async def test_a_restarted_server_gets_its_versions_and_labels_back(stage: Stage) -> None:
    await two_servers(stage)
    assert round_trip(stage) > 0
    stage.servers["b"].kill()
    await stage.settles("b", Status.UNREACHABLE)
    assert round_trip(stage) == 0
    stage.servers["b"].start()
    await stage.answers("b", "half_plus_two", 1)
    await stage.settles("b", Status.READY)
    assert round_trip(stage) > 0


def round_trip(stage: Stage) -> float:
    """How long b takes to answer, in ms; 0 where that is not known."""
    assert stage.loop is not None
    return stage.loop.latency_ms(FLEET, "b") or 0.0


async def test_a_promotion_waits_for_a_server_that_was_killed_and_then_completes(
    stage: Stage,
) -> None:
    await two_servers(stage)
    stage.servers["b"].kill()
    rollout = await stage.promote("half_plus_two", 2)
    await until(
        lambda: stage.rollout(rollout),
        lambda one: one.phase is Phase.WAITING and "b" in one.sentence,
    )
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    stage.servers["b"].start()
    await stage.done(rollout)
    for name in ("a", "b"):
        assert await stage.label(name, "half_plus_two") == Resolved(2)


async def test_a_control_plane_stopped_between_load_and_label_goes_on_where_it_was(
    stage: Stage,
) -> None:
    await two_servers(stage)
    stage.servers["b"].signal(signal.SIGSTOP)
    rollout = await stage.promote("half_plus_two", 2)
    await until(
        lambda: stage.states("a", "half_plus_two"),
        lambda seen: seen == {1: "AVAILABLE", 2: "AVAILABLE"},
    )
    await stage.stop_loop()
    assert (await stage.rollout(rollout)).phase.live
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    stage.servers["b"].signal(signal.SIGCONT)
    await stage.start_loop()
    await stage.done(rollout)
    for name in ("a", "b"):
        assert await stage.label(name, "half_plus_two") == Resolved(2)


async def test_a_hung_server_does_not_delay_another(stage: Stage) -> None:
    await two_servers(stage)
    stage.servers["b"].signal(signal.SIGSTOP)
    await stage.settles("b", Status.UNREACHABLE)
    stage.servers["a"].kill()
    stage.servers["a"].start()
    await stage.answers("a", "half_plus_two", 1)
    assert await stage.status("b") is Status.UNREACHABLE
