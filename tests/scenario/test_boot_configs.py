"""Servers that boot from the files that are kept for them, while nobody could tell them more."""

from pathlib import Path

import pytest
from google.protobuf import text_format

from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.standing import Status
from control_plane.services import fleets
from control_plane.services.commit import nothing_more
from control_plane.serving import stubs
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import FLEET, TOLD, Absent, DevServer, Resolved, Stage, now, until

Read = dict[str, tuple[list[int], dict[str, int]]]


async def fleet_keeps(stage: Stage, folder: Path) -> None:
    event = Event(EventKind.FLEET_CHANGED, now(), "test")
    changes = {"boot_config_dir": str(folder)}
    await fleets.change_fleet(
        stage.db, FLEET, changes, expected_rv=None, event=event, commit=nothing_more
    )
    stage.nudge()


def file_of(stage: Stage, name: str) -> Path:
    return stage.home / "boot" / name / "models.config"


async def booting(stage: Stage, name: str, told: ServerFlags = TOLD, **flags: object) -> None:
    """Start a server on the file that will be kept for it, and register it."""
    file = file_of(stage, name)
    file.parent.mkdir(parents=True)
    file.write_text("model_config_list {}")
    made = DevServer(name, stage.home, {"model_config_file": file, **flags})
    stage.servers[name] = made
    stage.clients[name] = GrpcModelServer(made.address)
    made.start()
    request = fleets.ServerRequest(made.address, name, take_over=True, flags=told)
    await fleets.add_server(stage.db, FLEET, request, actor="test", now=now(), commit=nothing_more)
    stage.nudge()


async def kept(stage: Stage, name: str) -> Read:
    """What a file holds: versions and labels, by model."""
    config = stubs.ModelServerConfig()
    text_format.Parse(file_of(stage, name).read_text(), config)
    return {
        one.name: (
            list(one.model_version_policy.specific.versions),
            dict(one.version_labels),
        )
        for one in config.model_config_list.config
    }


async def holds(stage: Stage, name: str, expected: Read) -> None:
    await until(lambda: kept(stage, name), lambda seen: seen == expected, 20)


@pytest.fixture
async def boots(stage: Stage) -> Stage:
    (stage.home / "boot").mkdir()
    await stage.model("half_plus_two", 1, 2)
    await fleet_keeps(stage, stage.home / "boot")
    await stage.start_loop()
    return stage


async def test_a_server_boots_with_what_it_served_and_gets_its_labels_later(boots: Stage) -> None:
    await booting(boots, "a")
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    await holds(boots, "a", {"half_plus_two": ([1], {})})
    await boots.done(await boots.promote("half_plus_two", 2))
    await holds(boots, "a", {"half_plus_two": ([1, 2], {})})
    await boots.stop_loop()
    boots.servers["a"].kill()
    boots.servers["a"].start()
    both = {1: "AVAILABLE", 2: "AVAILABLE"}
    await until(lambda: boots.states("a", "half_plus_two"), lambda seen: seen == both)
    assert await boots.label("a", "half_plus_two") == Absent()
    await boots.start_loop()
    await boots.answers("a", "half_plus_two", 2)
    await boots.settles("a", Status.READY)


async def test_a_restart_that_brings_all_but_labels_is_not_taken_for_another_writer(
    boots: Stage,
) -> None:
    await booting(boots, "a")
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    await holds(boots, "a", {"half_plus_two": ([1], {})})
    boots.servers["a"].kill()
    await boots.settles("a", Status.UNREACHABLE)
    boots.servers["a"].start()
    await boots.answers("a", "half_plus_two", 1)
    await boots.settles("a", Status.READY)
    drifted = await boots.events("server.drifted")
    assert {one.data["cause"] for one in drifted} <= {"restart"}


async def test_a_server_boots_without_the_model_whose_files_went_bad(boots: Stage) -> None:
    path = await boots.model("scaled", 1, of="scaled")
    await booting(boots, "a")
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    await boots.done(await boots.deploy("scaled", 1, stable=1))
    await holds(boots, "a", {"half_plus_two": ([1], {}), "scaled": ([1], {})})
    before = boots.home / "before.config"
    before.write_bytes(file_of(boots, "a").read_bytes())
    (path / "1" / "saved_model.pb").write_bytes(b"not a model any more")
    await holds(boots, "a", {"half_plus_two": ([1], {})})
    assert await boots.states("a", "scaled") == {1: "AVAILABLE"}
    await boots.stop_loop()
    other = boots.servers["other"] = DevServer("other", boots.home, {"model_config_file": before})
    other.start()
    await until(lambda: _ended(other), bool)  # the file of before keeps a server from booting
    boots.servers["a"].kill()
    boots.servers["a"].start()
    good = {1: "AVAILABLE"}
    await until(lambda: boots.states("a", "half_plus_two"), lambda seen: seen == good)


async def _ended(server: DevServer) -> bool:
    return server.process is not None and server.process.ended()


async def test_labels_are_in_the_file_where_the_server_was_started_for_it(boots: Stage) -> None:
    flag = "allow_version_labels_for_unavailable_models"
    told = ServerFlags(
        max_num_load_retries=0,
        load_retry_interval_micros=0,
        allow_version_labels_for_unavailable_models=True,
    )
    await booting(boots, "a", told, **{flag: "true"})
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    await holds(boots, "a", {"half_plus_two": ([1], {"stable": 1})})
    await boots.stop_loop()
    boots.servers["a"].kill()
    boots.servers["a"].start()
    await until(lambda: boots.label("a", "half_plus_two"), lambda seen: seen == Resolved(1))


async def test_nothing_is_written_for_a_server_that_re_reads_its_file(boots: Stage) -> None:
    told = ServerFlags(max_num_load_retries=0, model_config_file_poll_wait_seconds=60)
    await booting(boots, "a", told)
    await booting(boots, "b")
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    await holds(boots, "b", {"half_plus_two": ([1], {})})
    assert file_of(boots, "a").read_text() == "model_config_list {}"


async def test_a_folder_that_is_not_there_is_told_and_used_when_it_comes(boots: Stage) -> None:
    folder = boots.home / "later"
    await fleet_keeps(boots, folder)
    await booting(boots, "a")
    await boots.done(await boots.deploy("half_plus_two", 1, stable=1))
    kind = "server.boot_config_failed"
    (event,) = await until(lambda: boots.events(kind), lambda seen: len(seen) > 0)
    assert event.data["path"] == str(folder / "a" / "models.config")
    assert "No such file" in event.data["sentence"]
    folder.mkdir()
    written = folder / "a" / "models.config"

    async def there() -> bool:
        return written.exists()

    await until(there, bool)
    assert len(await boots.events(kind)) == 1
