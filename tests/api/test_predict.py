"""Predictions through the API, answered by a dev server that runs real SavedModels."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.errors import ControlPlaneError
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.record import to_json
from control_plane.domain.state import Config, Marker, ModelConfig, State
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.config import config_text
from control_plane.store import fleets, leases
from tests.api.conftest import MODELS, Api, half_plus_two, serving
from tests.databases import sqlite_url

HALF = "/fleets/default/models/half_plus_two"
LABELS = {"half_plus_two": {"stable": 1}, "sentiment": {"stable": 1}}
CONFIG = Config(
    {
        "half_plus_two": ModelConfig(
            str(MODELS / "half_plus_two"), frozenset({1, 2}), LABELS["half_plus_two"]
        ),
        "sentiment": ModelConfig(str(MODELS / "sentiment"), frozenset({1}), LABELS["sentiment"]),
    }
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dev server that serves both models with their labels."""
    home = tmp_path_factory.mktemp("devserver")
    marker = Marker("half_plus_two", 1)
    (home / "models.config").write_text(config_text(CONFIG, marker, "_cp_owner_test_default"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "control_plane.devserver", f"--port={port}"),
        f"--model_config_file={home / 'models.config'}",
        "--allow_version_labels_for_unavailable_models",
    ]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=MODELS.parents[1])
    asyncio.run(_until_it_serves(f"127.0.0.1:{port}"))
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait()


async def _until_it_serves(address: str) -> None:
    server = GrpcModelServer(address)
    async with asyncio.timeout(60):
        while True:
            try:
                await server.metadata("sentiment", at=1, timeout_s=5)
            except ControlPlaneError:
                await asyncio.sleep(0.1)
            else:
                break
    await server.close()


@pytest.fixture
async def api(address: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The API that knows this server and has seen it serve."""
    async with serving(sqlite_url(tmp_path)) as running:
        body = {"address": address, "name": "a", "take_over": True}
        await running.ok("POST", "/fleets/default/servers", json=body)
        await observe(running, Observed(at=1.0, reachable=True, models=_available(), labels=LABELS))
        yield running


def _available() -> dict[str, dict[int, VersionSeen]]:
    return {
        name: {number: VersionSeen(State.AVAILABLE, 1.0) for number in one.versions}
        for name, one in CONFIG.models.items()
    }


async def observe(api: Api, observed: Observed) -> None:
    async with api.db.begin() as s:
        lease = await leases.acquire(s, "default", "test", 60)
        assert lease is not None
        await fleets.save_observed(s, "default", "a", to_json(observed), epoch=lease.epoch)


async def answer(api: Api, path: str, body: Any) -> Any:
    """The parsed answer and the version that gave it."""
    found = await api.http.post(path, content=json.dumps(body))
    assert found.status_code == 200, found.text
    return json.loads(found.text), int(found.headers["x-served-version"])


async def test_callers_without_a_label_get_the_highest_version(api: Api) -> None:
    assert await answer(api, f"{HALF}:predict", {"instances": [1.0, 2.0]}) == (
        {"predictions": [102.5, 103.0]},
        2,
    )


async def test_a_version_and_a_label_are_answered_in_columns_and_rows(api: Api) -> None:
    columns = {"inputs": {"x": [1.0]}}
    assert await answer(api, f"{HALF}/versions/2:predict", columns) == ({"outputs": [102.5]}, 2)
    rows = {"instances": [{"x": 1.0}]}
    assert await answer(api, f"{HALF}/labels/stable:predict", rows) == ({"predictions": [2.5]}, 1)


async def test_chinese_words_go_in_and_out(api: Api) -> None:
    path = "/fleets/default/models/sentiment/labels/stable:predict"
    body = {"inputs": {"words": [["很", "喜欢"]], "nwords": [2]}}
    told, _ = await answer(api, path, body)
    assert told["outputs"]["labels"] == ["POS"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "JSON Parse error"),
        (b"[]", "Is not object"),
        (b'{"instances": [1], "instances": [2]}', "instances is given twice in one object"),
        (b'{"instances": ["x"]}', "is not of expected type: float"),
        (b'{"signature_name": "no", "instances": [1]}', "no"),
    ],
)
async def test_what_the_model_cannot_take_is_refused_in_its_own_words(
    api: Api, body: bytes, text: str
) -> None:
    problem = await api.refused("POST", f"{HALF}:predict", content=body)
    assert (problem["status"], problem["code"]) == (422, "prediction-refused")
    assert text in problem["detail"]


@pytest.mark.parametrize("path", [f"{HALF}/versions/9:predict", f"{HALF}/labels/no:predict"])
async def test_what_nobody_serves_is_not_found(api: Api, path: str) -> None:
    problem = await api.refused("POST", path, content=b'{"instances": [1]}')
    assert problem["status"] == 404
    assert "no server of the fleet default serves half_plus_two" in problem["detail"]


async def test_a_fleet_whose_servers_are_away_is_unavailable(api: Api) -> None:
    await observe(api, Observed(at=1.0, reachable=False))
    await api.app.state.running.resolved.refresh("default")
    problem = await api.refused("POST", f"{HALF}:predict", content=b'{"instances": [1]}')
    assert (problem["status"], problem["code"]) == (503, "server-unreachable")


async def test_a_drained_server_is_skipped(api: Api) -> None:
    body = {"instances": [1.0]}
    await api.ok("POST", "/fleets/default/servers/a:drain")
    await api.app.state.running.resolved.refresh("default")
    problem = await api.refused("POST", f"{HALF}:predict", content=json.dumps(body))
    assert (problem["status"], problem["code"]) == (503, "server-unreachable")
    assert "not drained" in problem["detail"]
    await api.ok("POST", "/fleets/default/servers/a:undrain")
    await api.app.state.running.resolved.refresh("default")
    assert await answer(api, f"{HALF}/versions/1:predict", body) == ({"predictions": [2.5]}, 1)


async def test_a_server_that_has_yet_to_be_caught_up_is_asked_if_nobody_else_can(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    put = {"versions": [1, 2], "labels": {"stable": 2}, "force": True}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=put)
    (rollout,) = (await api.ok("GET", "/rollouts"))["items"]
    await api.ok("POST", f"/rollouts/{rollout['id']}:abort")
    await api.app.state.running.resolved.refresh("default")
    stable = f"{HALF}/labels/stable:predict"
    assert await answer(api, stable, {"instances": [1.0]}) == ({"predictions": [2.5]}, 1)
