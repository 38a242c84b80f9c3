"""Stories of hooks: what they hold, what they stop, and what they are told, in which order."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.hook_document import check
from control_plane.domain.hook_runs import Run, RunState
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.state import Resolved
from control_plane.services import hooks
from control_plane.services.commit import nothing_more
from tests.scenario.hook_target import HookTarget, Reply, hook_target
from tests.scenario.stage import FAST, Stage, now, until

MODEL = "half_plus_two"
MOMENTS = (
    *("before_load", "after_load", "before_promote", "after_promote"),
    *("before_unload", "after_unload"),
)


@pytest.fixture
async def target() -> AsyncIterator[HookTarget]:
    async with hook_target() as made:
        yield made


@pytest.fixture
async def ready(stage: Stage) -> Stage:
    """Two servers with version 1 as stable; versions 2 and 3 are known."""
    await stage.model(MODEL, 1, 2, 3)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy(MODEL, 1, stable=1))
    return stage


async def hook(stage: Stage, name: str, moment: str, url: str = "", **more: Any) -> None:
    doing = {"http": {"url": url}} if url else {}
    made = check({"name": name, "moment": moment} | doing | more)
    await hooks.create(stage.db, made, actor="test", now=now(), commit=nothing_more)


async def runs(stage: Stage, rollout: Rollout) -> list[Run]:
    return list(await hooks.runs_of(stage.db, rollout.id))


async def states(stage: Stage, rollout: Rollout) -> dict[tuple[str, str], RunState]:
    return {(one.hook, one.server): one.state for one in await runs(stage, rollout)}


async def promoted(stage: Stage, version: int) -> Rollout:
    rollout = await stage.promote(MODEL, version)
    return await stage.done(rollout)


async def test_every_moment_comes_in_its_order(ready: Stage, target: HookTarget) -> None:
    for moment in MOMENTS:
        await hook(ready, moment, moment, target.url(f"/{moment}"), scope="rollout")
    await promoted(ready, 2)
    assert [one.path for one in target.asked] == [f"/{moment}" for moment in MOMENTS[:4]]
    target.asked.clear()
    await promoted(ready, 3)
    seen = [(one.path, one.body["version"]) for one in target.asked]
    about = (3, 3, 3, 3, 1, 1)
    assert seen == [(f"/{moment}", v) for moment, v in zip(MOMENTS, about, strict=True)]


async def test_after_load_runs_once_per_server_before_any_label_moves(
    ready: Stage, target: HookTarget
) -> None:
    await hook(ready, "init", "after_load", target.url("/init", Reply(hangs=True)), timeout_s=60)
    rollout = await ready.promote(MODEL, 2)
    await until(lambda: states(ready, rollout), lambda seen: len(seen) == 2)
    held = await until(lambda: ready.rollout(rollout), lambda one: "hooks" in one.sentence)
    assert held.sentence == "waiting for hooks after_load: init on a and 1 more"
    for name in ("a", "b"):
        assert await ready.label(name, MODEL) == Resolved(1)
    await until(lambda: _asked(target, "/init"), lambda count: count == 2)
    assert {one.body["server"] for one in target.at("/init")} == {"a", "b"}


async def test_a_500_is_tried_again_under_the_same_id_and_then_all_goes_on(
    ready: Stage, target: HookTarget
) -> None:
    url = target.url("/init", Reply(500), Reply(503), Reply(200))
    await hook(ready, "init", "before_load", url)
    rollout = await promoted(ready, 2)
    (run,) = await runs(ready, rollout)
    assert (run.state, run.attempts, run.status) == (RunState.SUCCEEDED, 3, 200)
    assert {one.headers["x-request-id"] for one in target.asked} == {run.id}


async def test_a_400_is_final_and_nothing_moved(ready: Stage, target: HookTarget) -> None:
    await hook(ready, "init", "after_load", target.url("/init", Reply(400)))
    over = await ready.over(await ready.promote(MODEL, 2))
    assert over.phase is Phase.FAILED
    assert "answered 400" in over.sentence
    assert [one.attempts for one in await runs(ready, over)] == [1, 1]
    for name in ("a", "b"):
        assert await ready.label(name, MODEL) == Resolved(1)


async def test_a_failure_hidden_in_a_200_ends_the_rollout(ready: Stage, target: HookTarget) -> None:
    url = target.url("/init", Reply(body=b'{"errorMessage": "no vocabulary"}'))
    await hook(ready, "init", "before_promote", url, fail_if={"json": "errorMessage"})
    over = await ready.over(await ready.promote(MODEL, 2))
    assert over.phase is Phase.FAILED
    assert "no vocabulary" in over.sentence


async def test_a_hang_ends_at_its_timeout_and_a_lenient_hook_holds_nothing_longer(
    ready: Stage, target: HookTarget
) -> None:
    url = target.url("/hang", Reply(hangs=True))
    lenient = {"timeout_s": 0.2, "retries": 0, "on_failure": "continue"}
    await hook(ready, "slow", "before_promote", url, **lenient)
    rollout = await promoted(ready, 2)
    (run,) = await runs(ready, rollout)
    assert (run.state, run.sentence) == (RunState.FAILED, "timed out after 0.2 s")


async def test_a_failing_pre_stop_does_not_block_the_stop(ready: Stage, target: HookTarget) -> None:
    await hook(ready, "stop", "before_unload", target.url("/pre-stop", Reply(404)))
    await promoted(ready, 2)
    rollout = await promoted(ready, 3)
    assert set((await states(ready, rollout)).values()) == {RunState.FAILED}
    await until(lambda: ready.states("a", MODEL), lambda seen: seen[1] == "END")


async def test_a_failure_after_the_label_moved_rolls_back_and_on_failure_is_told(
    ready: Stage, target: HookTarget
) -> None:
    await hook(ready, "smoke", "after_promote", target.url("/smoke", Reply(400)))
    await hook(ready, "page", "on_failure", target.url("/page"))
    over = await ready.over(await ready.promote(MODEL, 2))
    assert over.phase is Phase.ROLLED_BACK
    for name in ("a", "b"):
        await ready.answers(name, MODEL, 1)
    seen = await until(lambda: states(ready, over), lambda one: ("page", "") in one)
    await until(lambda: states(ready, over), lambda one: one["page", ""].over)
    assert seen["smoke", ""] is RunState.FAILED
    (told,) = target.at("/page")
    assert (told.body["phase"], told.body["version"]) == ("rolled_back", 2)


async def test_hooks_never_hold_a_rollback_and_run_beside_it(
    ready: Stage, target: HookTarget
) -> None:
    await promoted(ready, 2)
    await hook(ready, "never", "before_promote", target.url("/hang", Reply(hangs=True)))
    await hook(ready, "tell", "after_promote", target.url("/tell"))
    back = await ready.done(await ready.rollback(MODEL))
    seen = await until(lambda: states(ready, back), lambda one: ("tell", "") in one)
    assert ("never", "") in seen
    await until(lambda: states(ready, back), lambda one: one["tell", ""].over)
    assert target.at("/tell")[0].body["version"] == 1


async def test_orders_within_a_moment_are_kept(ready: Stage, target: HookTarget) -> None:
    for name, order in (("last", 2), ("first", -1), ("middle", 0)):
        await hook(ready, name, "before_load", target.url(f"/{name}"), order=order)
    await promoted(ready, 2)
    assert [one.path for one in target.asked] == ["/first", "/middle", "/last"]


async def test_warm_up_asks_the_version_on_each_server(ready: Stage) -> None:
    await hook(ready, "warm", "after_load", builtin="warm_up")
    rollout = await promoted(ready, 2)
    found = await runs(ready, rollout)
    assert [(one.server, one.state) for one in found] == [
        ("a", RunState.SUCCEEDED),
        ("b", RunState.SUCCEEDED),
    ]
    assert "sample" in found[0].sentence


async def test_a_command_runs_and_its_output_is_on_the_rollout(tmp_path: Path) -> None:
    file = tmp_path / "commands.json"
    file.write_text('{"purge": ["/bin/sh", "-c", "cat; echo; echo purged >&2"]}')
    file.chmod(0o600)
    stage = Stage(tmp_path, replace(FAST, hook_commands_file=file))
    try:
        await stage.model(MODEL, 1)
        await stage.server("a")
        await stage.start_loop()
        await hook(stage, "purge", "before_promote", command="purge")
        await hook(stage, "unknown", "after_promote", command="rm", on_failure="continue")
        rollout = await stage.done(await stage.deploy(MODEL, 1, stable=1))
        purge, unknown = await runs(stage, rollout)
        assert (purge.state, purge.status) == (RunState.SUCCEEDED, 0)
        assert f'"rollout": "{rollout.id}"' in purge.output
        assert purge.output.endswith("purged\n")
        assert "declares no command rm" in unknown.sentence
    finally:
        await stage.close()


async def test_an_event_is_told_to_those_who_wait_for_it(ready: Stage, target: HookTarget) -> None:
    wanted = {"events": ["label.verified"], "model": MODEL}
    await hook(ready, "tell", "on_event", target.url("/tell"), **wanted)
    await promoted(ready, 2)
    await until(lambda: _asked(target, "/tell"), bool)
    (told,) = target.at("/tell")
    assert told.body["event"]["data"] == {"label": "stable", "version": 2}


async def _asked(target: HookTarget, path: str) -> int:
    return len(target.at(path))


async def test_deleting_a_hook_frees_the_rollout_that_waits_for_it(
    ready: Stage, target: HookTarget
) -> None:
    await hook(ready, "stuck", "before_load", target.url("/hang", Reply(hangs=True)), timeout_s=60)
    rollout = await ready.promote(MODEL, 2)
    await until(lambda: _asked(target, "/hang"), bool)
    await hooks.delete(ready.db, "stuck", actor="test", now=now(), commit=nothing_more)
    await ready.done(rollout)


async def test_a_hook_whose_effect_was_not_written_down_runs_again_under_its_id(
    ready: Stage, target: HookTarget
) -> None:
    stuck = Reply(hangs=True)  # its effect is there, its answer is not
    url = target.url("/init", stuck, Reply(200))
    await hook(ready, "init", "before_promote", url, timeout_s=60)
    rollout = await ready.promote(MODEL, 2)
    await until(lambda: _asked(target, "/init"), bool)
    await ready.stop_loop()
    (left,) = await runs(ready, rollout)
    assert left.state is RunState.RUNNING
    await ready.start_loop()
    ready.nudge()
    await ready.done(rollout)
    (run,) = await runs(ready, rollout)
    assert (run.id, run.state, run.attempts) == (left.id, RunState.SUCCEEDED, 2)
    assert [one.headers["x-request-id"] for one in target.at("/init")] == [run.id, run.id]


async def test_an_answer_that_no_database_can_hold_is_a_failure_as_any_other(
    ready: Stage, target: HookTarget
) -> None:
    url = target.url("/odd", Reply(body=b'{"error": "\\u0000 \\ud800"}'))
    await hook(ready, "odd", "before_load", url, fail_if={"json": "error"})
    over = await ready.over(await ready.promote(MODEL, 2))
    assert over.phase is Phase.FAILED
    assert [one.attempts for one in await runs(ready, over)] == [1]
