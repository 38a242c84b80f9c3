"""One new model of several makes a server fail: the others are served, and it is named."""

from control_plane.domain.fleet import ServerFlags
from control_plane.domain.rollout import Phase
from control_plane.domain.standing import Status
from control_plane.reconcile.loop import Reconciler
from tests.scenario.stage import FLEET, Resolved, Stage, until

SLOW = {"max_num_load_retries": 30, "load_retry_interval_micros": 1_000_000}


def spoil(stage: Stage, model: str) -> None:
    (stage.models / model / "1" / "saved_model.pb").write_bytes(b"\xffnot it")


async def seen_state(loop: Reconciler, model: str) -> str:
    seen = loop.view(FLEET)["s"].observed.models.get(model, {})
    return seen[1].state.name if 1 in seen else ""


async def restarted_at(loop: Reconciler) -> float:
    return loop.view(FLEET)["s"].observed.restarted_at


async def test_of_three_new_models_the_corrupt_one_is_named_and_the_others_serve(
    stage: Stage,
) -> None:
    await stage.blind()
    for name in ("a", "b", "c"):
        await stage.model(name, 1)
    spoil(stage, "a")
    await stage.server("s")
    await stage.start_loop()
    begun = {name: await stage.deploy(name, 1, stable=1) for name in ("a", "b", "c")}
    await stage.done(begun["b"])
    await stage.done(begun["c"])
    failed = await stage.over(begun["a"])
    assert failed.phase is Phase.FAILED
    assert "saved_model.pb" in failed.error
    for name in ("b", "c"):
        assert await stage.label("s", name) == Resolved(1)


async def test_a_model_that_ends_its_server_is_held_back_and_the_others_serve(stage: Stage) -> None:
    """The load lasts until the test kills the server, as a load that crashes it would."""
    await stage.blind()
    for name in ("a", "b", "c"):
        await stage.model(name, 1)
    server = await stage.server("s", flags=SLOW, told=ServerFlags())
    loop = await stage.start_loop()
    for name in ("a", "b"):
        await stage.done(await stage.deploy(name, 1, stable=1))
    spoil(stage, "c")
    rollout = await stage.deploy("c", 1, stable=1)
    for _ in range(3):
        await until(lambda: stage.states("s", "c"), lambda seen: seen.get(1) == "LOADING", 30)
        known = loop.view(FLEET)["s"]
        await until(lambda: seen_state(loop, "c"), lambda seen: seen == "LOADING")
        server.kill()
        server.start()
        before = known.observed.restarted_at
        await until(lambda: restarted_at(loop), lambda at, before=before: at > before, 20)  # type: ignore[misc]
    failed = await stage.over(rollout, 30)
    assert failed.phase is Phase.FAILED
    assert "c 1 is held back" in failed.error
    for name in ("a", "b"):
        await stage.answers("s", name, 1)
    await stage.settles("s", Status.READY, 30)
    told = [one.data["held_back"] for one in await stage.events("version.suspected")]
    assert told == [False, False, True]
