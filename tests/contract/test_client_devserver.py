"""The client against a dev server that runs real SavedModels."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.domain.artifact import Complete
from control_plane.domain.errors import NotFound, PredictionRefused, ServerUnreachable
from control_plane.domain.signature import sample
from control_plane.domain.state import (
    Ability,
    Absent,
    Config,
    Marker,
    ModelConfig,
    Resolved,
    State,
)
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.saved_model import inspect
from control_plane.serving.warmup import warm_up_requests

MODELS = Path(__file__).parents[1] / "models"
OWNER = "_cp_owner_test_default"
NAMES = ("every_type", "no_variables", "scaled", "sentiment", "two_signatures", "warmed_up")
CONFIG = Config(
    {
        **{name: ModelConfig(str(MODELS / name), frozenset({1})) for name in NAMES},
        "half_plus_two": ModelConfig(str(MODELS / "half_plus_two"), frozenset({1, 2})),
    }
)


def labelled(**labels: int) -> Config:
    half = ModelConfig(str(MODELS / "half_plus_two"), frozenset({1, 2}), labels)
    return Config({**CONFIG.models, "half_plus_two": half})


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("devserver") / "models.config"
    config.write_text("model_config_list {}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        *(sys.executable, "-m", "control_plane.devserver", f"--port={port}"),
        *(f"--model_config_file={config}", "--max_num_load_retries=0", "--grpc_max_threads=16"),
        "--allow_version_labels_for_unavailable_models",
    ]
    with (config.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=MODELS.parents[1])
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
async def server(address: str) -> AsyncIterator[GrpcModelServer]:
    """A client of the server with every model loaded."""
    client = GrpcModelServer(address)
    async with asyncio.timeout(60):
        while not await loaded(client):
            await asyncio.sleep(0.05)
    yield client
    await client.close()


async def loaded(client: GrpcModelServer) -> bool:
    try:
        states = [await client.status(name, timeout_s=5) for name in CONFIG.models]
    except ServerUnreachable:
        return False
    if not any(states):
        assert (await client.reload(CONFIG, None, OWNER, timeout_s=60)).ok
    return [len(one) for one in states] == [
        len(one.versions) for one in CONFIG.models.values()
    ] and all(status.state is State.AVAILABLE for one in states for status in one.values())


async def test_labels_resolve_once_they_are_pushed_and_not_before(
    server: GrpcModelServer,
) -> None:
    config = labelled(stable=1)
    answer = await server.reload(config, Marker("half_plus_two", 2), OWNER, timeout_s=10)
    assert answer.ok, answer
    for label, found in (("stable", 1), (OWNER, 2), (config.digest_label, 2)):
        assert await server.label("half_plus_two", label, timeout_s=5) == Resolved(found)
    assert await server.label("half_plus_two", "canary", timeout_s=5) == Absent()
    assert await server.label("nobody", "stable", timeout_s=5) == Absent()


async def test_a_refused_config_says_why(server: GrpcModelServer) -> None:
    assert (await server.reload(labelled(stable=1), None, OWNER, timeout_s=10)).ok
    answer = await server.reload(labelled(stable=3), None, OWNER, timeout_s=10)
    assert answer.code == "FAILED_PRECONDITION"
    assert "version 3 of model half_plus_two" in answer.message
    assert not answer.lost
    assert await server.label("half_plus_two", "stable", timeout_s=5) == Resolved(1)


@pytest.mark.parametrize("name", ["every_type", "scaled", "sentiment", "two_signatures"])
async def test_signatures_read_offline_are_those_that_the_server_gives(
    server: GrpcModelServer, name: str
) -> None:
    offline = inspect(str(MODELS / name / "1"))
    assert isinstance(offline, Complete)
    assert await server.metadata(name, at=1, timeout_s=5) == (1, offline.signatures)


@pytest.mark.parametrize("name", ["every_type", "scaled", "sentiment", "two_signatures"])
async def test_samples_of_every_signature_are_answered(server: GrpcModelServer, name: str) -> None:
    _, signatures = await server.metadata(name, timeout_s=5)
    for signature_name, signature in signatures.items():
        body = sample(signature, signature_name)
        answer = await server.predict(name, body, at=1, timeout_s=10)
        assert "outputs" in answer.body
    able = await server.able(name, 1, timeout_s=10)
    assert able.ability is Ability.PROVEN


@pytest.mark.parametrize(
    ("model", "body", "answer"),
    [
        ("half_plus_two", {"instances": [1.0, 2.0]}, {"predictions": [102.5, 103.0]}),
        ("two_signatures", {"inputs": [1.0]}, {"outputs": [2.5]}),
        ("two_signatures", {"signature_name": "times_three", "inputs": [1]}, {"outputs": [3.0]}),
        (
            "scaled",
            {"instances": [{"x": 1, "scale": 2}, {"x": 2, "scale": 3}]},
            {"predictions": [5.0, 9.0]},
        ),
        (
            "every_type",
            {
                "inputs": {
                    "any_rank": [[float("inf")]],
                    "long": [2**53],
                    "pair": [[True, False]],
                    "raw": {"b64": "/w=="},
                }
            },
            {
                "outputs": {
                    "any_rank": [[float("inf")]],
                    "long": [2**53 + 1],
                    "pair": [[False, True]],
                    "raw_bytes": {"b64": "/yE="},
                }
            },
        ),
    ],
)
async def test_predictions_are_answered_as_rest_json(
    server: GrpcModelServer, model: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    assert (await server.predict(model, body, timeout_s=10)).body == answer


async def test_chinese_text_is_understood(server: GrpcModelServer) -> None:
    rows = [{"words": ["很", "喜欢"], "nwords": 2}, {"words": ["很", "垃圾"], "nwords": 2}]
    answer = await server.predict("sentiment", {"instances": rows}, timeout_s=10)
    assert [row["labels"] for row in answer.body["predictions"]] == ["POS", "NEG"]


async def test_a_version_is_asked_by_number(server: GrpcModelServer) -> None:
    first = await server.predict("half_plus_two", {"instances": [2]}, at=1, timeout_s=10)
    assert (first.version, first.body) == (1, {"predictions": [3.0]})
    with pytest.raises(NotFound, match=r"Servable not found for request: Specific\(half_plus_two"):
        await server.predict("half_plus_two", {"instances": [2]}, at=3, timeout_s=10)


async def test_what_the_model_refuses_is_refused(server: GrpcModelServer) -> None:
    body = {"inputs": {"words": [["a"], ["b"]], "nwords": [1, 1, 1]}}
    with pytest.raises(PredictionRefused):
        await server.predict("sentiment", body, timeout_s=10)


async def test_a_version_without_its_variables_is_unable_to_answer(
    server: GrpcModelServer,
) -> None:
    able = await server.able("no_variables", 1, timeout_s=10)
    assert able.ability is Ability.UNABLE
    assert "variable" in able.text.lower()


async def test_a_recorded_request_proves_ability_and_can_be_replayed(
    server: GrpcModelServer,
) -> None:
    (recorded,) = warm_up_requests(str(MODELS / "warmed_up" / "1"), most=1)
    able = await server.able("warmed_up", 1, warm_up=recorded.request, timeout_s=10)
    assert able.ability is Ability.PROVEN
    answer = await server.predict_raw("warmed_up", recorded.request, at=1, timeout_s=10)
    assert answer.body == {"outputs": {"y": [2.5, 3.0]}}
