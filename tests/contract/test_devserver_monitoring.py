"""The dev server's metrics, as Prometheus reads them."""

import shutil
from pathlib import Path

import pytest

from control_plane.serving import stubs
from tests.contract.conftest import Start
from tests.contract.rested import METRICS, Rested, monitoring
from tests.contract.served import MODELS, POLLS, free_port, model

HALF = MODELS / "half_plus_two"
NAME = "half_plus_two"
SERVING, SAVED_MODEL = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
EXIT = 255


@pytest.fixture
def rest(launch: Start, tmp_path: Path) -> Rested:
    return Rested(launch, model(HALF), monitoring_config_file=monitoring(tmp_path))


def counted(rest: Rested) -> dict[str, float]:
    start = f"{SERVING}request_count"
    return {k.removeprefix(start): v for k, v in rest.samples().items() if k.startswith(start)}


def test_without_the_file_there_are_no_metrics(launch: Start, tmp_path: Path) -> None:
    assert Rested(launch).raw("GET", METRICS)[0] == 404
    off = monitoring(tmp_path, "prometheus_config {}")
    assert Rested(launch, monitoring_config_file=off).raw("GET", METRICS)[0] == 404


def test_the_path_may_be_another_and_must_match_exactly(launch: Start, tmp_path: Path) -> None:
    file = monitoring(tmp_path, 'prometheus_config { enable: true path: "/m/x" }')
    rest = Rested(launch, model(HALF), monitoring_config_file=file)
    assert rest.samples("/m/x")
    assert rest.raw("GET", METRICS)[0] == 404
    assert rest.raw("GET", "/M/x")[0] == 404
    told = "Unexpected path: /m/x?a=b. Should be /m/x"
    assert rest.raw("GET", "/m/x?a=b") == (400, "text/plain", told)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "; Invalid argument"),
        ("prometheus {}", "Invalid protobuf file"),
        (None, "No such file"),
    ],
)
def test_a_monitoring_file_that_makes_no_sense_ends_the_process(
    launch: Start, tmp_path: Path, text: str | None, reason: str
) -> None:
    file = tmp_path / "nowhere" if text is None else monitoring(tmp_path, text)
    served = launch(rest_api_port=free_port(), monitoring_config_file=file)
    assert served.process.wait(30) == EXIT
    assert "Failed to start server. Error: " in served.output
    assert reason in served.output


def test_without_a_rest_port_the_monitoring_file_is_not_even_read(
    launch: Start, tmp_path: Path
) -> None:
    served = launch(model(HALF), monitoring_config_file=tmp_path / "nowhere").ready()
    assert served.y(NAME) == ("OK", [3.0])


def test_predictions_over_grpc_are_counted_by_model_and_status_and_nothing_else_is(
    rest: Rested,
) -> None:
    server = rest.server
    assert counted(rest) == {}
    for _ in range(3):
        assert server.predict(NAME)[0] == "OK"
    assert server.predict(NAME, version={"value": 9})[0] == "NOT_FOUND"
    assert server.predict("ghost")[0] == "NOT_FOUND"
    spec = stubs.ModelSpec(name=NAME)
    server.call(server.predictions.Classify, stubs.ClassificationRequest(model_spec=spec))
    server.call(server.predictions.Regress, stubs.RegressionRequest(model_spec=spec))
    server.call(server.predictions.MultiInference, stubs.MultiInferenceRequest())
    server.status(NAME)
    asked = stubs.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
    assert server.call(server.predictions.GetModelMetadata, asked)[0] == "OK"
    assert counted(rest) == {
        '{model_name="ghost",status="NOT_FOUND"}': 1,
        '{model_name="half_plus_two",status="NOT_FOUND"}': 1,
        '{model_name="half_plus_two",status="OK"}': 3,
        '{model_name="half_plus_two",status="UNIMPLEMENTED"}': 2,
    }


def test_every_rest_call_is_counted_by_the_name_that_it_asks_for(rest: Rested) -> None:
    rest.get(f"/v1/models/{NAME}")
    rest.get(f"/v1/models/{NAME}/metadata")
    rest.post(f"/v1/models/{NAME}/versions/1:predict", {"instances": [1]})
    rest.post(f"/v1/models/{NAME}:predict", {"instances": ["x"]})
    rest.get("/v1/models/a%22b%5C")
    rest.get("/v1/nothing")
    rest.raw("OPTIONS", "/v1/models/m", Origin="https://a.example")
    rest.raw("GET", "/nothing")
    assert counted(rest) == {
        '{model_name="",status="INVALID_ARGUMENT"}': 1,
        '{model_name="",status="OK"}': 1,
        '{model_name="a\\"b\\\\",status="NOT_FOUND"}': 1,
        '{model_name="half_plus_two",status="INVALID_ARGUMENT"}': 1,
        '{model_name="half_plus_two",status="OK"}': 3,
    }


def test_only_what_succeeded_has_a_latency_and_nothing_has_a_version(rest: Rested) -> None:
    rest.server.predict(NAME)
    rest.server.predict(NAME, version={"value": 9})
    rest.post(f"/v1/models/{NAME}:predict", {"instances": [1]})
    rest.post("/v1/models/ghost:predict", {"instances": [1]})
    rest.get(f"/v1/models/{NAME}")
    samples = rest.samples()
    found = {key: value for key, value in samples.items() if "latency_count" in key}
    assert found == {
        f'{SERVING}request_latency_count{{model_name="{NAME}",API="",entrypoint="REST"}}': 1,
        f'{SERVING}request_latency_count{{model_name="{NAME}",API="Predict",entrypoint="GRPC"}}': 1,
        f'{SERVING}request_latency_count{{model_name="{NAME}",API="predict",entrypoint="REST"}}': 1,
        f'{SERVING}runtime_latency_count{{model_name="{NAME}",API="Predict",runtime="TF1"}}': 2,
    }
    assert not [key for key in samples if "version" in key]


def test_a_histogram_has_33_limits_that_grow_by_four_fifths(rest: Rested) -> None:
    rest.server.predict(NAME)
    start = f'{SERVING}request_latency_bucket{{model_name="{NAME}",API="Predict",entrypoint="GRPC"'
    found = {k.removeprefix(start): v for k, v in rest.samples().items() if k.startswith(start)}
    limits = [key.removeprefix(',le="').removesuffix('"}') for key in found]
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert (limits[-2:], len(limits)) == (["1.47476e+09", "+Inf"], 34)
    assert sorted(found.values()) == list(found.values())
    assert found[',le="+Inf"}'] == 1


def test_loads_are_counted_by_path_for_every_attempt(rest: Rested, tmp_path: Path) -> None:
    (tmp_path / "empty" / "1").mkdir(parents=True)
    broken = MODELS / "bad_variables"
    rest.server.reload(model(HALF), model(broken), model(tmp_path / "empty"))
    samples = rest.samples()
    found = {key: value for key, value in samples.items() if "load_attempt_count" in key}
    assert found == {
        f'{SAVED_MODEL}load_attempt_count{{model_path="{HALF}/1",status="success"}}': 1,
        f'{SAVED_MODEL}load_attempt_count{{model_path="{broken}/1",status="fail"}}': 1,
    }
    assert samples[f'{SAVED_MODEL}load_latency{{model_path="{HALF}/1"}}'] > 0
    assert samples[f'{SAVED_MODEL}load_latency{{model_path="{broken}/1"}}'] > 0


def test_retries_are_seen_in_the_metrics_while_the_status_says_loading(
    launch: Start, tmp_path: Path
) -> None:
    flags = POLLS | {"max_num_load_retries": 1, "load_retry_interval_micros": 100_000}
    rest = Rested(launch, monitoring_config_file=monitoring(tmp_path), **flags)
    rest.server.reload(model(MODELS / "bad_variables"))
    path = MODELS / "bad_variables" / "1"
    series = f'{SAVED_MODEL}load_attempt_count{{model_path="{path}",status="fail"}}'
    assert rest.samples()[series] == 2


def test_a_warm_up_is_timed_and_its_predictions_count_as_computed(
    launch: Start, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "warmed_up", tmp_path / "warm")
    rest = Rested(launch, model(tmp_path / "warm"), monitoring_config_file=monitoring(tmp_path))
    samples = rest.samples()
    series = f'{SERVING}model_warmup_latency_count{{model_path="{tmp_path}/warm/1",status="OK"}}'
    assert samples[series] == 1
    computed = [v for k, v in samples.items() if k.startswith(f"{SERVING}runtime_latency_count")]
    assert sum(computed) > 0
    assert not [key for key in samples if "request_latency" in key]


def test_without_predictions_requests_and_loads_are_counted_too(
    launch: Start, tmp_path: Path
) -> None:
    file = monitoring(tmp_path)
    rest = Rested(launch, model(HALF), monitoring_config_file=file, no_predict="true")
    assert rest.server.predict(NAME)[0] == "OK"
    assert counted(rest) == {'{model_name="half_plus_two",status="OK"}': 1}
    series = f'{SAVED_MODEL}load_attempt_count{{model_path="{HALF}/1",status="success"}}'
    assert rest.samples()[series] == 1
