"""What is told of a rollout afterwards is what servers were sent, answered and did."""

from dataclasses import replace
from functools import partial
from typing import Any

from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.rollout import Rollout
from control_plane.domain.standing import Status
from control_plane.services import promotion
from control_plane.services.changes import Planned
from control_plane.services.evidence import evidence, hash_of
from control_plane.services.evidence_page import evidence_page
from control_plane.services.kept_plans import kept_json
from control_plane.services.plan_view import plan_json
from control_plane.services.timeline import answered
from tests.scenario.stage import FLEET, Resolved, Stage, now, until

WHERE = (FLEET, "half_plus_two", "stable")


async def whole(stage: Stage, rollout: Rollout) -> dict[str, Any]:
    """The evidence of a rollout, with the plan that is worked out a moment after its start."""
    return await until(partial(evidence, stage.db, rollout.id), lambda told: bool(told["plan"]))


async def rehearsed(stage: Stage, version: int) -> dict[str, Any]:
    request, call = (
        PromoteRequest(version=version, force=True),
        replace(stage._call(), dry_run=True),
    )
    planned = await promotion.promote(stage.db, FLEET, "half_plus_two", request, call)
    assert isinstance(planned, Planned)
    return kept_json(plan_json(planned))


async def test_the_evidence_of_a_promotion_has_what_was_sent_and_what_was_answered(
    stage: Stage,
) -> None:
    await stage.model("half_plus_two", 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    plan = await rehearsed(stage, 2)
    rollout = await stage.done(await stage.promote("half_plus_two", 2))
    told = await whole(stage, rollout)
    assert told["complete"]
    made = {"made_at": told["plan"]["made_at"], "reloads_before": 0}
    assert told["plan"] == plan | made
    foretold = [(one["server"], one["digest"]) for one in plan["reloads"]]
    assert sorted((one["server"], one["digest"]) for one in told["reloads"]) == sorted(foretold)
    assert told["rollout"]["phase"] == "succeeded"
    assert (told["rollout"]["actor"], told["rollout"]["reason"]) == ("test", "a story")
    for server in ("a", "b"):
        mine = [one for one in told["reloads"] if one["server"] == server]
        assert [one["code"] for one in mine] == ["OK", "OK"]
        assert all(one["took_s"] >= 0 and one["models"] == ["half_plus_two"] for one in mine)
        assert "+      versions: 2" in mine[0]["diff"].replace("        ", "      ")
        assert any(line.startswith("-") and "value: 1" in line for line in _lines(mine[1]))
        assert any(line.startswith("+") and "value: 2" in line for line in _lines(mine[1]))
        states = [
            one["data"]["state"]
            for one in told["servers"]
            if one["kind"] == "version.state_changed" and one["server"] == server
        ]
        assert states[-1] == "AVAILABLE"
    assert [one["verdict"] for one in told["signatures"]] == ["identical"]
    assert told["sha256"] == hash_of(told)
    assert told == await whole(stage, rollout)
    page = evidence_page(told)
    assert plan["plan_hash"] in page
    assert told["sha256"] in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def _lines(reload: dict[str, str]) -> list[str]:
    return reload["diff"].splitlines()


async def test_a_rollout_that_waited_for_the_control_plane_has_its_plan(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await stage.stop_loop()
    plan = await rehearsed(stage, 2)
    rollout = await stage.promote("half_plus_two", 2)
    await stage.start_loop()
    told = (await whole(stage, await stage.done(rollout)))["plan"]
    assert told == plan | {"made_at": told["made_at"], "reloads_before": 0}


async def test_the_history_of_a_label_is_what_servers_were_seen_to_answer(stage: Stage) -> None:
    await stage.model("half_plus_two", 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    between = now()
    await stage.done(await stage.promote("half_plus_two", 2))
    after = now()
    (then,) = await answered(stage.db, WHERE, between)
    assert (then["version"], then["servers"]) == (1, ["a", "b"])
    (later,) = await answered(stage.db, WHERE, after)
    assert (later["version"], later["servers"], later["revision"]) == (2, ["a", "b"], 2)
    assert (later["actor"], later["reason"]) == ("test", "a story")
    await stage.done(await stage.rollback("half_plus_two"))
    found = await answered(stage.db, WHERE, None)
    assert [one["version"] for one in found] == [1, 2, 1]
    assert [one["kind"] for one in found] == ["rollback", "promote", "deploy"]
    assert found[0]["until"] is None


async def test_a_server_that_is_gone_answers_no_label(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    server = await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    server.kill()
    await stage.settles("a", Status.UNREACHABLE)

    async def ended() -> bool:
        return (await answered(stage.db, WHERE, None))[0]["until"] is not None

    await until(ended, bool)
    server.start()
    await stage.answers("a", "half_plus_two", 1)
    assert await stage.label("a", "half_plus_two") == Resolved(1)

    async def spans() -> int:
        return len(await answered(stage.db, WHERE, None))

    await until(spans, lambda seen: seen == 2)
