import shutil

from control_plane.domain.fleet import ServerFlags
from control_plane.domain.rollout import Phase
from control_plane.store import revisions
from tests.scenario.stage import FLEET, Resolved, Stage, until


async def one_version_served(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2, 3)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))


def spoil(stage: Stage, version: int) -> None:
    (stage.models / "half_plus_two" / str(version) / "saved_model.pb").write_bytes(b"\xffnot it")


async def test_a_corrupt_version_fails_its_rollout_before_any_label_moves(stage: Stage) -> None:
    await one_version_served(stage)
    spoil(stage, 2)
    failed = await stage.over(await stage.promote("half_plus_two", 2))
    assert failed.phase is Phase.FAILED
    assert "saved_model.pb" in failed.error
    assert failed.sentence.count("saved_model.pb") == 1
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE"}
    async with stage.db.read() as s:
        head = await revisions.head_of(s, FLEET, "half_plus_two")
    assert head is not None
    assert head.deployment.versions == frozenset({1})


async def test_a_failed_load_is_told_in_the_servers_own_words(stage: Stage) -> None:
    await one_version_served(stage)
    await stage.blind()
    spoil(stage, 2)
    failed = await stage.over(await stage.promote("half_plus_two", 2))
    assert failed.phase is Phase.FAILED
    assert "saved_model.pb" in failed.error
    assert await stage.label("a", "half_plus_two") == Resolved(1)


async def test_after_a_failed_promotion_the_next_one_and_a_rollback_work(stage: Stage) -> None:
    await one_version_served(stage)
    await stage.blind()
    spoil(stage, 2)
    await stage.over(await stage.promote("half_plus_two", 2))
    await stage.done(await stage.promote("half_plus_two", 3))
    await stage.done(await stage.rollback("half_plus_two"))
    assert await stage.label("a", "half_plus_two") == Resolved(1)


async def test_a_version_without_its_variables_waits_for_them(stage: Stage) -> None:
    await one_version_served(stage)
    index = stage.models / "half_plus_two" / "2" / "variables" / "variables.index"
    content = index.read_bytes()
    index.unlink()
    rollout = await stage.promote("half_plus_two", 2)
    for _ in range(3):
        stage.nudge()
        assert await stage.label("a", "half_plus_two") == Resolved(1)
    index.write_bytes(content)
    await stage.done(rollout)
    assert await stage.label("a", "half_plus_two") == Resolved(2)


async def test_a_version_that_cannot_answer_never_gets_the_label(stage: Stage) -> None:
    await stage.model("scaled", 1, 2, of="scaled")
    await stage.blind()
    await stage.server("a", predicts=True)
    await stage.start_loop()
    await stage.done(await stage.deploy("scaled", 1, stable=1), 40)
    shutil.rmtree(stage.models / "scaled" / "2" / "variables")
    failed = await stage.over(await stage.promote("scaled", 2))
    assert failed.phase is Phase.FAILED
    assert "cannot answer" in failed.sentence
    assert failed.error
    assert await stage.label("a", "scaled") == Resolved(1)


async def test_a_rollback_does_not_wait_for_a_load_that_is_tried_again(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    slow = {"max_num_load_retries": 3, "load_retry_interval_micros": 60_000_000}
    await stage.server("a", flags=slow, told=ServerFlags())
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.blind()
    spoil(stage, 2)
    await stage.promote("half_plus_two", 2)
    await until(lambda: stage.states("a", "half_plus_two"), lambda seen: seen.get(2) == "LOADING")
    await stage.done(await stage.rollback("half_plus_two"))
    assert await stage.label("a", "half_plus_two") == Resolved(1)
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE", 2: "LOADING"}
    assert stage.loop is not None
    verified = stage.loop.view(FLEET)["a"].observed.verified
    assert verified is not None
    assert verified.config.models["half_plus_two"].versions == frozenset({1})
