"""Somebody else's configs, restarts and lost directories: named, and answered as the fleet says."""

import shutil
from typing import Any

from control_plane.domain.advance import LOOP_ACTOR
from control_plane.domain.drift import FLIPS_THAT_PAUSE
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.standing import Status
from control_plane.domain.state import Absent, Config, ModelConfig, Resolved
from control_plane.services import doctor, fleets
from control_plane.services.commit import nothing_more
from tests.scenario.stage import FLEET, TOLD, Stage, now, until


async def served(stage: Stage, *servers: str, **started: Any) -> None:
    """Each server serves half_plus_two 1 as stable, with 2 beside it."""
    await stage.model("half_plus_two", 1, 2)
    for name in servers or ("a",):
        await stage.server(name, **started)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, 2, stable=1))


async def on_drift(stage: Stage, policy: str) -> None:
    event = Event(EventKind.FLEET_CHANGED, now(), "test")
    changes = {"on_drift": policy}
    await fleets.change_fleet(
        stage.db, FLEET, changes, expected_rv=None, event=event, commit=nothing_more
    )
    stage.nudge()


async def enforce(stage: Stage, server: str = "a") -> None:
    event = Event(EventKind.SERVER_ENFORCED, now(), "test")
    await fleets.enforce(stage.db, (FLEET, server), event=event, commit=nothing_more)
    stage.nudge()


async def drifted(stage: Stage, cause: str) -> Event:
    """Wait until a drift of this cause is told."""
    told = await until(
        lambda: stage.events("server.drifted"),
        lambda seen: any(one.data["cause"] == cause for one in seen),
        40,
    )
    return next(one for one in told if one.data["cause"] == cause)


async def reloads(stage: Stage) -> int:
    return len(await stage.events("server.reloaded"))


async def test_a_fleet_that_alerts_says_who_and_pushes_nothing_until_it_is_told(
    stage: Stage,
) -> None:
    await served(stage)
    await on_drift(stage, "alert")
    pushed = await reloads(stage)
    await stage.foreign("a", "half_plus_two")
    told = await drifted(stage, "foreign writer")
    assert "not ours" in told.data["sentence"]
    await stage.settles("a", Status.DRIFTED)
    await until(lambda: stage.sentence("a"), lambda seen: "tfsctl server enforce" in seen)
    await until(lambda: stage.states("a", "half_plus_two"), lambda seen: seen[2] == "END")
    assert await reloads(stage) == pushed
    assert await stage.label("a", "half_plus_two") == Absent()
    await enforce(stage)
    await stage.answers("a", "half_plus_two", 1)
    await stage.settles("a", Status.READY, 25)


async def test_a_restart_and_a_lost_directory_are_told_from_a_writer(stage: Stage) -> None:
    await served(stage)
    await on_drift(stage, "alert")
    server = stage.servers["a"]
    server.kill()
    server.start()
    assert (await drifted(stage, "restart")).server == "a"
    await stage.settles("a", Status.READY, 25)
    folder = stage.models / "half_plus_two" / "2"
    folder.rename(folder.with_name("away"))
    told = await drifted(stage, "directory deleted")
    assert (told.model, told.data["version"]) == ("half_plus_two", 2)
    causes = {one.data["cause"] for one in await stage.events("server.drifted")}
    assert causes == {"restart", "directory deleted"}


async def test_a_label_that_somebody_moved_beside_our_markers_is_seen_by_the_sweep(
    stage: Stage,
) -> None:
    await served(stage)
    assert stage.loop is not None
    seen = stage.loop.view(FLEET)["a"].observed.verified
    assert seen is not None
    labels = {"stable": 2, seen.config.digest_label: 1}
    path = str(stage.models / "half_plus_two")
    moved = Config({"half_plus_two": ModelConfig(path, frozenset({1, 2}), labels)})
    answer = await stage.clients["a"].reload(moved, None, "", timeout_s=5)
    assert answer.ok, answer
    await drifted(stage, "foreign writer")
    await stage.answers("a", "half_plus_two", 1)


async def test_a_server_that_is_known_to_read_its_file_again_is_left_alone_at_once(
    stage: Stage,
) -> None:
    told = ServerFlags(max_num_load_retries=0, model_config_file_poll_wait_seconds=2)
    await stage.model("half_plus_two", 1)
    await stage.server("a", flags={"model_config_file_poll_wait_seconds": 2}, told=told)
    await stage.start_loop()
    await stage.deploy("half_plus_two", 1, stable=1)
    (paused,) = await until(lambda: stage.events("server.paused"), lambda seen: len(seen) == 1)
    assert "reads its config file again and again" in paused.data["sentence"]
    assert "half_plus_two" in paused.data["sentence"]
    await drifted(stage, "config-file polling")
    await stage.settles("a", Status.DRIFTED)


async def test_three_flips_in_a_minute_pause_what_nobody_told_us_and_the_doctor_names_it(
    stage: Stage,
) -> None:
    await stage.model("half_plus_two", 1)
    flags = {"model_config_file_poll_wait_seconds": 3}
    await stage.server("a", flags=flags, told=TOLD)
    await stage.start_loop()
    await stage.deploy("half_plus_two", 1, stable=1)
    (paused,) = await until(lambda: stage.events("server.paused"), lambda seen: bool(seen), 60)
    assert "3 times in a minute (config-file polling)" in paused.data["sentence"]
    found = await doctor.of_server(stage.db, FLEET, "a", now)
    verdicts = {one["check"]: one["verdict"] for one in found["findings"]}
    assert verdicts["config-file-polling"] == "problem"
    assert len(await stage.events("server.drifted")) == FLIPS_THAT_PAUSE


async def foreign(stage: Stage, versions: set[int], **labels: int) -> None:
    """Somebody has the server `a` serve this of half_plus_two, and nothing else."""
    path = str(stage.models / "half_plus_two")
    config = Config({"half_plus_two": ModelConfig(path, frozenset(versions), labels)})
    await stage.clients["a"].reload(config, None, "", timeout_s=5)


async def test_what_somebody_had_a_server_serve_becomes_what_its_fleet_serves(stage: Stage) -> None:
    await served(stage, "a", "b")
    await on_drift(stage, "adopt")
    seen = await stage.events("revision.created")
    await foreign(stage, {1, 2}, stable=2, canary=1)
    await stage.answers("b", "half_plus_two", 2, 40)
    for server in ("a", "b"):
        await stage.settles(server, Status.READY, 25)
        assert await stage.label(server, "half_plus_two") == Resolved(2)
        assert await stage.label(server, "half_plus_two", "canary") == Resolved(1)
    (made,) = (await stage.events("revision.created"))[len(seen) :]
    assert (made.actor, made.data["kind"], made.reason) == (LOOP_ACTOR, "adopt", "seen on a")
    last = [one for one in await stage.events("server.reloaded") if one.server == "a"][-1]
    assert last.data["sentence"] == "mark half_plus_two as ours"
    await stage.done(await stage.rollback("half_plus_two"))
    assert await stage.label("a", "half_plus_two") == Resolved(1)


async def test_what_cannot_be_taken_up_is_left_alone_with_the_reason(stage: Stage) -> None:
    await served(stage)
    await on_drift(stage, "adopt")
    pushed = await reloads(stage)
    await stage.foreign("a")
    await until(lambda: stage.sentence("a"), lambda seen: "nothing is served there" in seen, 40)
    shutil.copytree(stage.models / "half_plus_two" / "1", stage.models / "half_plus_two" / "9")
    await foreign(stage, {1, 9})
    await until(lambda: stage.sentence("a"), lambda seen: "has no version 9" in seen, 40)
    assert await reloads(stage) == pushed
    await stage.scan("half_plus_two")
    await stage.settles("a", Status.READY, 40)
    assert await stage.states("a", "half_plus_two") == {1: "AVAILABLE", 2: "END", 9: "AVAILABLE"}
