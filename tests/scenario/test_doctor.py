"""The doctor at dev servers that were started badly: by what was told of them, and what shows."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from control_plane.domain.finding import Check
from control_plane.domain.fleet import ServerFlags
from control_plane.domain.promotion import PromoteRequest
from control_plane.domain.standing import Status
from control_plane.domain.state import Config, ModelConfig
from control_plane.services import doctor, promotion
from control_plane.services.changes import Call, Started
from control_plane.store import fleets as store
from tests.contract.served import free_port
from tests.scenario.stage import FLEET, Stage, now, until

Findings = Mapping[str, Mapping[str, str]]
GOOD: Mapping[str, object] = {
    "allow_version_labels_for_unavailable_models": "true",
    "num_load_threads": 2,
    "num_unload_threads": 1,
    "grpc_max_threads": 32,
}
TOLD_GOOD = ServerFlags(
    allow_version_labels_for_unavailable_models=True,
    num_load_threads=2,
    num_unload_threads=1,
    file_system_poll_wait_seconds=1,
    max_num_load_retries=0,
    model_config_file_poll_wait_seconds=0,
    grpc_max_threads=32,
)
ALL = [str(one) for one in Check]


async def examined(stage: Stage, server: str = "a", ahead: timedelta = timedelta()) -> Findings:
    def clock() -> datetime:
        return now() - ahead

    found: dict[str, Any] = await doctor.of_server(stage.db, FLEET, server, clock)
    return {one["check"]: one for one in found["findings"]}


async def finds(stage: Stage, check: str, verdict: str, s: float = 15.0) -> Mapping[str, str]:
    """Wait until a check comes to a verdict."""

    async def one() -> Mapping[str, str]:
        return (await examined(stage))[check]

    return await until(one, lambda found: found["verdict"] == verdict, s)


def with_metrics(home: Path) -> dict[str, object]:
    file = home / "monitoring.config"
    file.write_text("prometheus_config { enable: true }")
    return {"rest_api_port": free_port(), "monitoring_config_file": file}


async def test_nothing_is_amiss_with_a_server_that_was_started_well(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a", flags={**GOOD, **with_metrics(stage.home)}, told=TOLD_GOOD)
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    found = await examined(stage)
    assert [(name, one["verdict"]) for name, one in found.items()] == [(name, "ok") for name in ALL]
    assert "declared" not in found["reachability"]["found"]


async def test_what_was_told_of_a_badly_started_server_is_named_with_the_fix(stage: Stage) -> None:
    bad: Mapping[str, object] = {
        "file_system_poll_wait_seconds": 0,
        "max_num_load_retries": 5,
        "load_retry_interval_micros": 60_000_000,
        "num_load_threads": 0,
        "grpc_max_threads": 4,
        "model_config_file_poll_wait_seconds": 2,
    }
    told = ServerFlags(
        allow_version_labels_for_unavailable_models=False,
        rest_api_port=0,
        monitoring_config_file="",
        **bad,  # type: ignore[arg-type]
    )
    await stage.server("a", flags=bad, told=told)
    await stage.start_loop()
    await finds(stage, "reachability", "ok")
    found = await examined(stage)
    problems = {name: one["fix"] for name, one in found.items() if one["verdict"] == "problem"}
    assert problems.keys() == {*ALL} - {"reachability", "paths", "clock"}
    assert "--allow_version_labels_for_unavailable_models=true" in problems["labels-flag"]
    assert "--model_config_file_poll_wait_seconds" in problems["config-file-polling"]
    assert "--file_system_poll_wait_seconds=1" in problems["file-poll"]
    assert "--max_num_load_retries=0" in problems["load-retries"]
    assert "--num_load_threads=2" in problems["load-threads"]
    assert "--grpc_max_threads=32" in problems["thread-pool"]
    assert "--rest_api_port" in problems["rest-port"]
    assert "--monitoring_config_file" in problems["monitoring"]


async def test_what_nobody_told_and_nothing_showed_is_unknown_and_says_how_to_find_out(
    stage: Stage,
) -> None:
    await stage.server("a", told=ServerFlags())
    await stage.start_loop()
    await finds(stage, "reachability", "ok")
    unknown = {name: one for name, one in (await examined(stage)).items() if one["find_out"]}
    assert unknown.keys() == {*ALL} - {"reachability"}
    for name in ("labels-flag", "file-poll", "load-retries", "load-threads", "thread-pool"):
        assert "tfsctl server change a --flag" in unknown[name]["find_out"], name


async def test_a_server_that_does_not_look_for_versions_shows_it(stage: Stage) -> None:
    await stage.model("half_plus_two", 1)
    await stage.server("a", flags={"file_system_poll_wait_seconds": 0}, told=ServerFlags())
    await stage.start_loop()
    await stage.deploy("half_plus_two", 1, stable=1)
    found = await finds(stage, "file-poll", "problem", 20)
    assert "half_plus_two 1" in found["found"]
    assert "--file_system_poll_wait_seconds=1" in found["fix"]
    assert (await examined(stage))["paths"]["verdict"] == "problem"


async def test_a_path_that_the_server_does_not_see_is_named(stage: Stage) -> None:
    await stage.blind()
    path = await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    away = path.rename(path.with_name("elsewhere"))
    await stage.deploy("half_plus_two", 1, stable=1)
    await stage.settles("a", Status.WEDGED)
    found = await finds(stage, "paths", "problem")
    assert "half_plus_two 1" in found["found"]
    away.rename(path)
    await finds(stage, "paths", "ok", 20)


async def test_a_path_that_we_do_not_see_is_named(stage: Stage) -> None:
    path = await stage.model("half_plus_two", 1)
    await stage.server("a")
    await stage.start_loop()
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    async with stage.db.begin() as s:
        unseen = {str(stage.models): str(stage.home / "not-mounted")}
        await store.save_fleet(s, replace(await store.fleet(s, FLEET), path_map=unseen), None)
    found = await finds(stage, "paths", "problem")
    assert str(stage.home / "not-mounted" / "half_plus_two") in found["found"]
    assert f"the server has loaded from {path}" in found["found"]
    assert "path_map" in found["fix"]


async def test_a_pool_of_threads_that_hung_reloads_exhausted_shows(stage: Stage) -> None:
    await stage.server("a", flags={"grpc_max_threads": 2}, told=ServerFlags())
    await stage.start_loop()
    await finds(stage, "reachability", "ok")
    nowhere = Config({"x": ModelConfig("/not/there", frozenset({1}))})
    hung = [
        asyncio.create_task(stage.clients["a"].reload(nowhere, None, "", timeout_s=30))
        for _ in range(2)
    ]
    found = await finds(stage, "thread-pool", "problem")
    assert "no thread" in found["found"]
    reachability = await finds(stage, "reachability", "problem")
    assert "has no thread" in reachability["found"]
    for one in hung:
        one.cancel()
    await asyncio.gather(*hung, return_exceptions=True)


async def test_ports_that_do_not_answer_and_clocks_that_differ_are_named(stage: Stage) -> None:
    await stage.server("a", flags={"rest_api_port": free_port()})
    await stage.start_loop()
    await finds(stage, "rest-port", "ok")
    found = await examined(stage, ahead=timedelta(hours=1))
    assert "--monitoring_config_file" in found["monitoring"]["fix"]
    assert found["clock"]["verdict"] == "problem"
    assert "3600 s ahead" in found["clock"]["found"]
    stage.servers["a"].kill()
    assert (await finds(stage, "reachability", "problem"))["fix"]
    assert (await examined(stage))["rest-port"]["verdict"] == "problem"


async def two_slow_failures(stage: Stage, threads: int) -> None:
    """Each of two models gets a version whose load fails twice, two seconds apart."""
    slow = {"max_num_load_retries": 1, "load_retry_interval_micros": 2_000_000}
    await stage.blind()
    for name in ("x", "y"):
        path = await stage.model(name, 1, 2)
        (path / "2" / "saved_model.pb").write_bytes(b"\xffnot it")
    await stage.server("a", flags={**slow, "num_load_threads": threads}, told=ServerFlags())
    await stage.start_loop()
    for name in ("x", "y"):
        await stage.done(await stage.deploy(name, 1, stable=1))
    over = []
    for name in ("x", "y"):  # no nudge between them: one push adds both, so one poll shows both
        request = PromoteRequest(version=2, force=True)
        call = Call(actor="test", now=now(), new_id=f"bad-{name}")
        over.append(await promotion.promote(stage.db, FLEET, name, request, call))
    stage.nudge()
    for one in over:
        assert isinstance(one, Started)
        await stage.over(one.rollout, 25)


async def test_loads_that_wait_for_each_other_show_that_there_are_no_threads(stage: Stage) -> None:
    await two_slow_failures(stage, threads=0)
    found = await examined(stage)
    assert found["load-threads"]["verdict"] == "problem", found["load-threads"]
    assert "to load" in found["load-threads"]["found"]
    assert "failed after" in found["load-retries"]["found"]


async def test_loads_side_by_side_show_threads_and_the_poll(stage: Stage) -> None:
    await two_slow_failures(stage, threads=2)
    found = await examined(stage)
    shown = {name: found[name]["verdict"] for name in ("load-threads", "load-retries", "file-poll")}
    assert shown == dict.fromkeys(shown, "ok"), found
    assert "at the same time" in found["load-threads"]["found"]
