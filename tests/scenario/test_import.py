"""Servers that run from a file are imported, then taken over without a change."""

import shutil
from pathlib import Path

import pytest

from control_plane.domain.errors import AlreadyExists, ServersDiffer, StillLoading
from control_plane.domain.importing import ONLY_MARKERS
from control_plane.domain.standing import Status
from control_plane.domain.state import Config, ModelConfig, Resolved
from control_plane.services.catalog import model
from control_plane.services.changes import Call
from control_plane.services.commit import nothing_more
from control_plane.services.imports import Imported, ImportRequest, Registered, import_config
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import FLEET, MODELS, DevServer, Stage, now, until

LABELS_FLAG = {"allow_version_labels_for_unavailable_models": "true"}
CONFIG = """model_config_list {{
  config {{ name: "half_plus_two" base_path: "{models}/half_plus_two" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: {stable} }} }}
  config {{ name: "twin" base_path: "{models}/half_plus_two" model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "canary" value: 3 }} }}
}}"""


def config(stable: int = 1) -> str:
    return CONFIG.format(models=MODELS, stable=stable)


async def running(stage: Stage, name: str, stable: int = 1) -> DevServer:
    """A server that somebody started from a file, and that we only observe."""
    Path(stage.home / f"{name}.config").write_text(config(stable))
    made = await stage.server(name, take_over=False, flags=LABELS_FLAG)
    await stage.answers(name, "half_plus_two", stable)
    loaded = dict.fromkeys((1, 2, 3), "AVAILABLE")
    await until(lambda: stage.states(name, "twin"), lambda seen: seen == loaded)
    return made


async def imported(stage: Stage, request: ImportRequest) -> Imported:
    call = Call("ann", now(), new_id="", reason="we run it already")
    done = await import_config(
        stage.db, FLEET, request, connect=GrpcModelServer, call=call, commit=nothing_more
    )
    stage.nudge()
    return done


async def test_servers_that_run_from_a_file_are_imported_and_taken_over_without_a_change(
    stage: Stage,
) -> None:
    for name in ("a", "b"):
        await running(stage, name)
    await stage.start_loop()
    done = await imported(stage, ImportRequest(config()))
    found = {name: (set(one.versions), one.labels) for name, one in done.found.deployments.items()}
    assert found == {
        "half_plus_two": ({1, 2}, {"stable": 1}),
        "twin": ({1, 2, 3}, {"canary": 3}),
    }
    assert {name: one.sentence for name, one in done.plans.items()} == dict.fromkeys(
        "ab", ONLY_MARKERS
    )
    assert (await model(stage.db, "twin")).base_path == f"{MODELS}/half_plus_two"
    for name in ("a", "b"):
        await stage.settles(name, Status.NOT_TAKEN_OVER)
    assert await stage.events("server.reloaded") == ()
    await stage.take_over("a")
    await stage.settles("a", Status.READY)
    (push,) = await stage.events("server.reloaded")
    assert push.data["sentence"].startswith("mark ")
    changed = await stage.events("version.state_changed")
    assert {one.data["state"] for one in changed if one.server == "a"} == {"AVAILABLE"}
    assert await stage.label("a", "twin", "canary") == Resolved(3)
    await stage.done(await stage.promote("half_plus_two", 2))
    await stage.done(await stage.rollback("half_plus_two"))
    await stage.answers("a", "half_plus_two", 1)
    assert await stage.label("b", "half_plus_two") == Resolved(1)


async def test_labels_that_were_moved_since_the_file_was_written_stay_where_they_are(
    stage: Stage,
) -> None:
    await running(stage, "a", stable=2)
    done = await imported(stage, ImportRequest(config(stable=1)))
    assert done.found.deployments["half_plus_two"].labels == {"stable": 2}
    assert "half_plus_two: stable is listed on 1 and answers 2; that stays" in done.found.warnings
    assert done.plans["a"].only_markers


async def test_servers_that_differ_are_not_made_the_same_unasked(stage: Stage) -> None:
    await running(stage, "a")
    await running(stage, "b", stable=2)
    with pytest.raises(ServersDiffer):
        await imported(stage, ImportRequest(config()))
    assert await stage.events("revision.created") == ()
    done = await imported(stage, ImportRequest(config(), server="b"))
    assert done.found.deployments["half_plus_two"].labels == {"stable": 2}


async def test_a_server_that_is_still_loading_is_imported_only_when_it_is_done(
    stage: Stage,
) -> None:
    base = stage.models / "half_plus_two"
    for version in ("1", "2"):
        shutil.copytree(MODELS / "half_plus_two" / "1", base / version)
    (base / "2" / "saved_model.pb").write_bytes(b"broken")
    listed = (
        config().split('config { name: "twin"')[0].replace(str(MODELS), str(stage.models)) + "}"
    )
    one = listed.replace(" versions: 2", "")
    Path(stage.home / "a.config").write_text(one)
    tried_again: dict[str, object] = {
        "max_num_load_retries": 1,
        "load_retry_interval_micros": 60_000_000,
    }
    await stage.server("a", take_over=False, flags={**LABELS_FLAG, **tried_again})
    await stage.answers("a", "half_plus_two", 1)
    both = Config({"half_plus_two": ModelConfig(str(base), frozenset({1, 2}), {"stable": 1})})
    assert (await stage.clients["a"].reload(both, None, "", timeout_s=5)).ok
    await until(lambda: stage.states("a", "half_plus_two"), lambda seen: seen.get(2) == "LOADING")
    for request in (ImportRequest(listed), ImportRequest(one, server="a", force=True)):
        with pytest.raises(StillLoading, match="half_plus_two 2 is still loading on a"):
            await imported(stage, request)
    assert {one.kind for one in await stage.events()} == {"server.added"}


async def test_an_import_is_repeated_without_effect_and_never_changes_what_is_deployed(
    stage: Stage,
) -> None:
    server = await running(stage, "a")
    assert (await imported(stage, ImportRequest(config()))).revision is not None
    again = await imported(stage, ImportRequest(config()))
    assert (again.revision, again.registered) == (None, Registered((), ()))
    server.kill()
    await until(lambda: stage.label("a", "twin"), lambda seen: seen is None)
    only = config(stable=2).split('config { name: "twin"')[0] + "}"
    with pytest.raises(AlreadyExists, match="serves half_plus_two already"):
        await imported(stage, ImportRequest(only))
