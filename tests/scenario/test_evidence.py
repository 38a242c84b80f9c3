"""What is told of a rollout afterwards is what servers were sent, answered and did."""

from control_plane.api.evidence_page import evidence_page
from control_plane.domain.standing import Status
from control_plane.services.evidence import evidence, hash_of
from control_plane.services.timeline import answered
from tests.scenario.stage import FLEET, Resolved, Stage, now, until

WHERE = (FLEET, "half_plus_two", "stable")


async def test_the_evidence_of_a_promotion_has_what_was_sent_and_what_was_answered(
    stage: Stage,
) -> None:
    await stage.model("half_plus_two", 1, 2)
    for name in ("a", "b"):
        await stage.server(name)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    rollout = await stage.done(await stage.promote("half_plus_two", 2))
    told = await evidence(stage.db, rollout.id)
    assert told["complete"]
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
    assert told == await evidence(stage.db, rollout.id)
    page = evidence_page(told)
    assert told["sha256"] in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def _lines(reload: dict[str, str]) -> list[str]:
    return reload["diff"].splitlines()


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
