"""The client against a gRPC server that answers as TensorFlow Serving is known to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from control_plane.domain.errors import (
    DeadlineExpired,
    NotFound,
    PredictionFailed,
    PredictionRefused,
    ServerUnreachable,
)
from control_plane.domain.signature import Signature, TensorSpec
from control_plane.domain.state import (
    Ability,
    Able,
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
from control_plane.serving.tensor import make_tensor

Code = grpc.StatusCode
Handler = Callable[[Any], Awaitable[Any]]
CONFIG = Config({"m": ModelConfig("/models/m", frozenset({2, 1}), {"stable": 1})})
OWNER = "_cp_owner_here_default"


@dataclass
class Refusal(Exception):
    """What a handler raises to answer with a gRPC error."""

    code: grpc.StatusCode
    text: str = ""


@dataclass
class Script:
    """What the server answers, and what it was asked."""

    answers: dict[str, Handler] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def __call__(self, name: str, request: Any, context: Any) -> Any:
        self.asked.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self.answers[name](request)
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.text)
        finally:
            self.running -= 1

    def answer(self, name: str, message: Any) -> None:
        async def handler(_: Any) -> Any:
            return message

        self.answers[name] = handler

    def refuse(self, name: str, code: grpc.StatusCode, text: str = "") -> None:
        async def handler(_: Any) -> Any:
            raise Refusal(code, text)

        self.answers[name] = handler


def serve(script: Script, port: int) -> grpc.aio.Server:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])

    def servicer(base: Any, *names: str) -> Any:
        def method(name: str) -> Any:
            async def answer(_: Any, request: Any, context: Any) -> Any:
                return await script(name, request, context)

            return answer

        return type("Scripted", (base,), {name: method(name) for name in names})()

    models = servicer(stubs.ModelServiceServicer, "GetModelStatus", "HandleReloadConfigRequest")
    predictions = servicer(stubs.PredictionServiceServicer, "Predict", "GetModelMetadata")
    stubs.add_ModelServiceServicer_to_server(models, server)
    stubs.add_PredictionServiceServicer_to_server(predictions, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    return server


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def script(port: int) -> AsyncIterator[Script]:
    script = Script()
    server = serve(script, port)
    await server.start()
    yield script
    await server.stop(None)


@pytest.fixture
async def client(port: int) -> AsyncIterator[GrpcModelServer]:
    client = GrpcModelServer(f"127.0.0.1:{port}")
    yield client
    await client.close()


def metadata(version: int, signature: Signature | None = None) -> Any:
    answer = stubs.GetModelMetadataResponse()
    answer.model_spec.version.value = version
    packed = stubs.SignatureDefMap()
    if signature is not None:
        found = packed.signature_def["serving_default"]
        for side, specs in (found.inputs, signature.inputs), (found.outputs, signature.outputs):
            for name, spec in specs.items():
                side[name].dtype = stubs.DataType.Value(spec.dtype)
                side[name].tensor_shape.unknown_rank = spec.shape is None
                for size in spec.shape or ():
                    side[name].tensor_shape.dim.add(size=size)
    answer.metadata["signature_def"].Pack(packed)
    return answer


def predicted(version: int, **outputs: Any) -> Any:
    answer = stubs.PredictResponse()
    answer.model_spec.version.value = version
    for name, tensor in outputs.items():
        answer.outputs[name].CopyFrom(tensor)
    return answer


LINE = Signature("", {"x": TensorSpec("DT_FLOAT", (-1,))}, {"y": TensorSpec("DT_FLOAT", None)})


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


async def test_a_server_that_is_not_there_is_unreachable_and_seen_when_it_comes(
    client: ModelServer, port: int
) -> None:
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
        while len(script.asked) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExpired, match="not sent"):
            await client.status("m", timeout_s=0.05)
        answer = await client.reload(CONFIG, None, OWNER, timeout_s=0.05)
        assert answer.lost
        release.set()
    assert len(script.asked) == 2


async def test_metadata_gives_the_version_and_its_signatures(
    script: Script, client: ModelServer
) -> None:
    script.answer("GetModelMetadata", metadata(3, LINE))
    assert await client.metadata("m", at=3, timeout_s=5) == (3, {"serving_default": LINE})
    script.refuse("GetModelMetadata", Code.NOT_FOUND, "Servable not found")
    with pytest.raises(NotFound, match="Servable not found"):
        await client.metadata("m", timeout_s=5)


async def test_a_prediction_goes_the_way_of_rest_json(script: Script, client: ModelServer) -> None:
    script.answer("GetModelMetadata", metadata(7, LINE))
    script.answer("Predict", predicted(7, y=make_tensor("DT_FLOAT", [2], [2.5, float("nan")])))
    answer = await client.predict("m", {"instances": [1, 2]}, at="stable", timeout_s=5)
    assert answer.version == 7
    assert repr(answer.body) == "{'predictions': [2.5, nan]}"
    sent = script.asked[-1]
    assert (sent.model_spec.name, sent.model_spec.version_label) == ("m", "stable")
    assert list(sent.inputs["x"].float_val) == [1.0, 2.0]


async def test_known_signatures_are_not_asked_for(script: Script, client: ModelServer) -> None:
    script.answer("Predict", predicted(7, y=make_tensor("DT_INT64", [], [4])))
    known = {"serving_default": LINE}
    answer = await client.predict("m", {"inputs": [1]}, signatures=known, timeout_s=5)
    assert answer.body == {"outputs": 4}
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.INVALID_ARGUMENT, PredictionRefused),
        (Code.FAILED_PRECONDITION, PredictionRefused),
        (Code.NOT_FOUND, NotFound),
        (Code.UNAVAILABLE, ServerUnreachable),
        (Code.RESOURCE_EXHAUSTED, ServerUnreachable),
        (Code.DEADLINE_EXCEEDED, DeadlineExpired),
        (Code.INTERNAL, PredictionFailed),
    ],
)
async def test_a_failed_prediction_keeps_the_servers_words(
    script: Script, client: ModelServer, code: grpc.StatusCode, error: type[Exception]
) -> None:
    script.refuse("Predict", code, "the server's words")
    known = {"serving_default": LINE}
    with pytest.raises(error, match="the server's words"):
        await client.predict("m", {"inputs": [1]}, signatures=known, timeout_s=5)


async def test_a_recorded_request_is_sent_to_the_version_that_is_asked_for(
    script: Script, client: ModelServer
) -> None:
    recorded = stubs.PredictRequest()
    recorded.model_spec.name, recorded.model_spec.signature_name = "then", "other"
    recorded.model_spec.version.value = 1
    recorded.inputs["x"].CopyFrom(make_tensor("DT_FLOAT", [1], [1.0]))
    script.answer("Predict", predicted(9, y=make_tensor("DT_FLOAT", [1], [0.2])))
    answer = await client.predict_raw("m", recorded.SerializeToString(), at=9, timeout_s=5)
    assert answer.body == {"outputs": {"y": [0.2]}}
    spec = script.asked[-1].model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 9, "other")
    with pytest.raises(PredictionRefused):
        await client.predict_raw("m", b"\xff", at=9, timeout_s=5)


@pytest.mark.parametrize(
    ("code", "ability"),
    [
        (Code.INVALID_ARGUMENT, Ability.UNPROVEN),
        (Code.OUT_OF_RANGE, Ability.UNPROVEN),
        (Code.UNAVAILABLE, Ability.RETRY),
        (Code.RESOURCE_EXHAUSTED, Ability.RETRY),
        (Code.DEADLINE_EXCEEDED, Ability.RETRY),
        (Code.FAILED_PRECONDITION, Ability.UNABLE),
        (Code.NOT_FOUND, Ability.UNABLE),
        (Code.INTERNAL, Ability.UNABLE),
        (Code.UNIMPLEMENTED, Ability.UNABLE),
    ],
)
async def test_ability_is_judged_by_the_answer_to_one_real_request(
    script: Script, client: ModelServer, code: grpc.StatusCode, ability: Ability
) -> None:
    script.refuse("Predict", code, "why")
    known = {"serving_default": LINE}
    assert await client.able("m", 2, signatures=known, timeout_s=5) == Able(ability, "why")


async def test_a_version_that_answers_any_signature_is_able(
    script: Script, client: ModelServer
) -> None:
    async def picky(request: Any) -> Any:
        if request.model_spec.signature_name == "serving_default":
            raise Refusal(Code.INVALID_ARGUMENT, "could not parse example")
        return predicted(2)

    script.answers["Predict"] = picky
    known = {"other": LINE, "serving_default": LINE}
    assert await client.able("m", 2, signatures=known, timeout_s=5) == Able(Ability.PROVEN)
    assert [one.model_spec.signature_name for one in script.asked] == ["serving_default", "other"]


async def test_a_recorded_request_comes_before_samples(script: Script, client: ModelServer) -> None:
    script.answer("Predict", predicted(2))
    recorded = stubs.PredictRequest()
    recorded.inputs["z"].CopyFrom(make_tensor("DT_INT64", [1], [5]))
    able = await client.able("m", 2, warm_up=recorded.SerializeToString(), timeout_s=5)
    assert able == Able(Ability.PROVEN)
    assert list(script.asked[0].inputs) == ["z"]


async def test_a_version_without_signatures_is_unproven(
    script: Script, client: ModelServer
) -> None:
    script.answer("GetModelMetadata", metadata(2))
    assert (await client.able("m", 2, timeout_s=5)).ability is Ability.UNPROVEN
