"""Looking at a server and reloading it, against one that answers as TensorFlow Serving does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from control_plane.domain.errors import (
    DeadlineExpired,
    ServerUnreachable,
)
from control_plane.domain.state import (
    Absent,
    Config,
    Dangling,
    Marker,
    ModelConfig,
    ReloadAnswer,
    Resolved,
    State,
    VersionStatus,
)
from control_plane.serving import stubs
from control_plane.serving.client import GrpcModelServer, ModelServer
from tests.contract.scripted import (
    Code,
    Script,
    free_port,
    metadata,
    running,
    serve,
)

CONFIG = Config({"m": ModelConfig("/models/m", frozenset({2, 1}), {"stable": 1})})
OWNER = "_cp_owner_here_default"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[ModelServer]:
    async with running(script) as client:
        yield client


async def test_status_says_every_version_with_its_error(
    script: Script, client: ModelServer
) -> None:
    answer = stubs.GetModelStatusResponse()
    answer.model_version_status.add(version=2, state=30)
    failed = answer.model_version_status.add(version=1, state=50)
    failed.status.error_code, failed.status.error_message = 5, "no such file"
    script.answer("GetModelStatus", answer)
    assert await client.status("m", timeout_s=5) == {
        2: VersionStatus(State.AVAILABLE),
        1: VersionStatus(State.END, 5, "no such file"),
    }


async def test_a_model_that_the_server_does_not_know_has_no_versions(
    script: Script, client: ModelServer
) -> None:
    script.refuse("GetModelStatus", Code.NOT_FOUND, "Could not find any versions of model m")
    assert await client.status("m", timeout_s=5) == {}


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        (Code.INVALID_ARGUMENT, "Unrecognized servable version label: l", Absent()),
        (Code.UNAVAILABLE, "Model labels does not init yet.l", Absent()),
        (Code.NOT_FOUND, "Servable not found for request: Latest(m)", Absent()),
        (Code.NOT_FOUND, "Servable not found for request: Specific(a, 1), 3)", Dangling(3)),
    ],
)
async def test_a_label_that_does_not_answer_is_absent_or_dangling(
    script: Script, client: ModelServer, code: grpc.StatusCode, text: str, found: object
) -> None:
    script.refuse("GetModelMetadata", code, text)
    assert await client.label("m", "l", timeout_s=5) == found


async def test_a_label_that_answers_is_resolved_to_its_version(
    script: Script, client: ModelServer
) -> None:
    script.answer("GetModelMetadata", metadata(0))
    assert await client.label("m", "", timeout_s=5) == Resolved(0)
    (request,) = script.asked
    assert request.model_spec.HasField("version_label")


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.UNIMPLEMENTED])
async def test_a_look_that_fails_is_no_evidence(
    script: Script, client: ModelServer, code: grpc.StatusCode
) -> None:
    script.refuse("GetModelMetadata", code, "Server Threadpool Exhausted")
    script.refuse("GetModelStatus", code, "Server Threadpool Exhausted")
    with pytest.raises(ServerUnreachable, match="Threadpool"):
        await client.label("m", "l", timeout_s=5)
    with pytest.raises(ServerUnreachable):
        await client.status("m", timeout_s=5)


async def test_a_look_that_takes_too_long_expires(script: Script, client: ModelServer) -> None:
    script.answers["GetModelStatus"] = lambda _: asyncio.sleep(60)
    with pytest.raises(DeadlineExpired):
        await client.status("m", timeout_s=0.05)


async def test_a_server_that_is_not_there_is_unreachable_and_seen_when_it_comes() -> None:
    port = free_port()
    client = GrpcModelServer(f"127.0.0.1:{port}")
    with pytest.raises(ServerUnreachable):
        await client.status("m", timeout_s=5)
    script = Script()
    script.answer("GetModelStatus", stubs.GetModelStatusResponse())
    server = serve(script, port)
    await server.start()
    try:
        async with asyncio.timeout(10):
            while not script.asked:
                try:
                    await client.status("m", timeout_s=5)
                except ServerUnreachable:
                    await asyncio.sleep(0.02)
    finally:
        await client.close()
        await server.stop(None)


async def test_a_reload_sends_the_whole_config_with_our_marks(
    script: Script, client: ModelServer
) -> None:
    script.answer("HandleReloadConfigRequest", stubs.ReloadConfigResponse())
    answer = await client.reload(CONFIG, Marker("m", 1), OWNER, timeout_s=5)
    assert answer == ReloadAnswer("OK")
    (request,) = script.asked
    (entry,) = request.config.model_config_list.config
    assert (entry.name, entry.base_path, entry.model_platform) == ("m", "/models/m", "tensorflow")
    assert list(entry.model_version_policy.specific.versions) == [1, 2]
    assert dict(entry.version_labels) == {"stable": 1, CONFIG.digest_label: 1, OWNER: 1}


async def test_the_empty_config_is_sent_as_an_empty_list(
    script: Script, client: ModelServer
) -> None:
    script.answer("HandleReloadConfigRequest", stubs.ReloadConfigResponse())
    assert (await client.reload(Config(), None, OWNER, timeout_s=5)).ok
    assert script.asked[0].config.HasField("model_config_list")


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (Code.UNKNOWN, False),
        (Code.FAILED_PRECONDITION, False),
        (Code.INVALID_ARGUMENT, False),
        (Code.UNAVAILABLE, True),
        (Code.CANCELLED, True),
    ],
)
async def test_a_refused_reload_is_an_answer(
    script: Script, client: ModelServer, code: grpc.StatusCode, lost: bool
) -> None:
    script.refuse("HandleReloadConfigRequest", code, "why")
    answer = await client.reload(CONFIG, None, OWNER, timeout_s=5)
    assert answer == ReloadAnswer(code.name, "why")
    assert answer.lost is lost


async def test_a_reload_without_a_thread_was_never_started(
    script: Script, client: ModelServer
) -> None:
    text = "Server Threadpool Exhausted"
    script.refuse("HandleReloadConfigRequest", Code.RESOURCE_EXHAUSTED, text)
    answer = await client.reload(CONFIG, None, OWNER, timeout_s=5)
    assert answer.not_started
    assert not answer.lost


async def test_a_reload_that_does_not_return_is_lost(script: Script, client: ModelServer) -> None:
    script.answers["HandleReloadConfigRequest"] = lambda _: asyncio.sleep(60)
    answer = await client.reload(CONFIG, None, OWNER, timeout_s=0.05)
    assert (answer.code, answer.lost) == ("DEADLINE_EXCEEDED", True)


async def test_no_more_than_two_calls_are_open_at_a_time(
    script: Script, client: ModelServer
) -> None:
    async def slow(_: Any) -> Any:
        await asyncio.sleep(0.02)
        return stubs.GetModelStatusResponse()

    script.answers["GetModelStatus"] = slow
    await asyncio.gather(*(client.status("m", timeout_s=10) for _ in range(8)))
    assert (len(script.asked), script.most_running) == (8, 2)


async def test_waiting_for_earlier_calls_counts_against_the_deadline(
    script: Script, client: ModelServer
) -> None:
    release = asyncio.Event()

    async def hang(_: Any) -> Any:
        await release.wait()
        return stubs.GetModelStatusResponse()

    script.answers["GetModelStatus"] = hang
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(client.status("m", timeout_s=30))
        async with asyncio.timeout(20):
            while len(script.asked) < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExpired, match="not sent"):
            await client.status("m", timeout_s=0.05)
        answer = await client.reload(CONFIG, None, OWNER, timeout_s=0.05)
        assert answer.lost
        release.set()
    assert len(script.asked) == 2
