"""Predictions, metadata and ability, against a server that answers as TensorFlow Serving does."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
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
)
from control_plane.serving import stubs
from control_plane.serving.client import ModelServer
from control_plane.serving.tensor import make_tensor
from tests.contract.scripted import (
    Code,
    Refusal,
    Script,
    metadata,
    predicted,
    running,
)

LINE = Signature("", {"x": TensorSpec("DT_FLOAT", (-1,))}, {"y": TensorSpec("DT_FLOAT", None)})


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[ModelServer]:
    async with running(script) as client:
        yield client


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
