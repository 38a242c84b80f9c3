"""The dev server as a process: how it starts and ends, how it answers over gRPC."""

import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control_plane.serving import stubs
from control_plane.serving.tensor import make_tensor
from tests.contract.conftest import Start
from tests.contract.served import MODELS, eventually, free_port, model, text_of

HALF = MODELS / "half_plus_two"
OUR_COMMAND = f"{sys.executable} -m control_plane.devserver"
EXIT = 255


def test_the_port_stays_closed_until_every_model_of_the_file_is_there(
    launch: Start, tmp_path: Path
) -> None:
    late = launch(model(HALF), model(tmp_path / "late"))
    launch(model(HALF), model(MODELS / "scaled")).ready()
    assert late.status("half_plus_two")[0] == "UNAVAILABLE"
    shutil.copytree(HALF, tmp_path / "late")
    assert late.ready().states("late") == {1: "AVAILABLE"}


def test_a_corrupt_model_in_the_file_ends_the_process(launch: Start) -> None:
    served = launch(model(HALF), model(MODELS / "corrupt"))
    assert served.process.wait(30) == EXIT
    start = (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name"
    )
    assert start in served.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "; Invalid argument"),
        ("model_config_list { config {", "Invalid protobuf file"),
        (text_of(model(HALF, 1, stable=1)), "Request to assign label to version 1"),
        (text_of(model("models/m")), "to have an absolute path or URI"),
    ],
)
def test_a_file_that_makes_no_sense_ends_the_process(launch: Start, text: str, reason: str) -> None:
    served = launch(text=text)
    assert served.process.wait(30) == EXIT
    assert reason in served.output


def test_without_file_and_base_path_it_does_not_start(launch: Start) -> None:
    served = launch(model_config_file="")
    assert served.process.wait(30) == EXIT
    assert "model_base_path and server_options.model_config_file are empty!" in served.output


def test_one_model_by_flags_is_enough(launch: Start) -> None:
    served = launch(model_config_file="", model_name="half", model_base_path=HALF).ready()
    assert served.y("half") == ("OK", [203.0])


def test_a_file_of_comments_starts_without_a_config(launch: Start) -> None:
    served = launch(text="# nothing yet\n").ready()
    asked = served.predict("m", version_label="stable")
    assert asked == ("UNAVAILABLE", "Model labels does not init yet.stable")
    assert served.reload(model(HALF)) == ("OK", "")
    assert served.y("half_plus_two") == ("OK", [3.0])


def test_a_taken_port_ends_the_process_with_a_sentence(launch: Start) -> None:
    port = free_port()
    launch(port=port).ready()
    second = launch(port=port)
    assert second.process.wait(30) == EXIT
    assert f"cannot listen on 127.0.0.1:{port}" in second.output


def test_an_unknown_flag_is_named_and_changes_nothing(launch: Start) -> None:
    served = launch(model(HALF), no_such_flag=1).ready()
    assert "unknown argument: --no_such_flag" in served.output
    assert served.y("half_plus_two") == ("OK", [3.0])


def test_sigterm_ends_it_at_once_even_with_a_blocked_reload(launch: Start, tmp_path: Path) -> None:
    served = launch(model(HALF)).ready()
    with ThreadPoolExecutor(1) as caller:
        blocked = caller.submit(served.reload, model(HALF), model(tmp_path / "ghost"))
        eventually(lambda: served.reload(timeout_s=0.2)[0], "DEADLINE_EXCEEDED")
        served.process.terminate()
        assert served.process.wait(5) == -signal.SIGTERM
        assert blocked.result(10)[0] == "UNAVAILABLE"


def test_blocked_reloads_take_the_threads_of_everybody(launch: Start, tmp_path: Path) -> None:
    served = launch(model(HALF), grpc_max_threads=4).ready()
    exhausted = ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
    ghost = tmp_path / "ghost"
    for _ in range(3):
        assert served.reload(model(HALF), model(ghost), timeout_s=0.3)[0] == "DEADLINE_EXCEEDED"
    assert served.predict("half_plus_two") == exhausted
    assert served.status("half_plus_two") == exhausted
    shutil.copytree(HALF, ghost)
    eventually(lambda: served.y("half_plus_two"), ("OK", [3.0]))


def test_file_polling_reverts_what_was_pushed(launch: Start) -> None:
    served = launch(model(HALF), model_config_file_poll_wait_seconds=1).ready()
    assert served.reload(model(HALF), model(MODELS / "scaled")) == ("OK", "")
    eventually(lambda: served.states("scaled"), {1: "END"})
    served.file.write_text(text_of(model(HALF, 2)))
    eventually(lambda: served.states("half_plus_two"), {2: "AVAILABLE", 1: "END"})


def test_a_version_without_its_variables_is_available_and_fails_every_request(
    launch: Start,
) -> None:
    served = launch(model(MODELS / "no_variables")).ready()
    assert served.states("no_variables") == {1: "AVAILABLE"}
    code, message = served.predict("no_variables")
    assert (code, "Could not find variable" in message) == ("FAILED_PRECONDITION", True)


def test_a_version_with_broken_variables_does_not_load(launch: Start) -> None:
    served = launch().ready()
    code, message = served.reload(model(MODELS / "bad_variables"))
    assert (code, "bad_variables" in message) == ("UNKNOWN", True)
    assert served.states("bad_variables") == {1: "END"}


def test_a_folder_without_a_saved_model_is_not_found(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "empty" / "1").mkdir(parents=True)
    served = launch().ready()
    assert served.reload(model(tmp_path / "empty"))[0] == "UNKNOWN"
    start = "Specified file path does not appear to contain a SavedModel bundle"
    assert served.error("empty").startswith(start)


def test_requests_that_do_not_fit_the_signature_are_refused_in_these_words(launch: Start) -> None:
    served = launch(model(HALF), model(MODELS / "scaled")).ready()
    x = make_tensor("DT_DOUBLE", [1], [2.0])
    for name, inputs, message in (
        (
            "scaled",
            {"x": x},
            (
                "input size does not match signature: 1!=2 len({x}) != len({scale,x}). "
                "Sent extra: {}. Missing but required: {scale}."
            ),
        ),
        (
            "half_plus_two",
            {"z": x},
            "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
        ),
        ("half_plus_two", {"x": x}, "Expects arg[0] to be float but double is provided"),
    ):
        assert served.predict(name, inputs) == ("INVALID_ARGUMENT", message)


def test_every_type_comes_back_in_its_own_field(launch: Start) -> None:
    served = launch(model(MODELS / "every_type")).ready()
    inputs = {
        "any_rank": make_tensor("DT_FLOAT", [], [1.5]),
        "long": make_tensor("DT_INT64", [2], [2**40, -1]),
        "pair": make_tensor("DT_BOOL", [1, 2], [True, False]),
        "raw": make_tensor("DT_STRING", [], [b"\xff\x00"]),
    }
    code, answer = served.predict("every_type", inputs)
    assert code == "OK"
    assert dict(answer.outputs) == {
        "any_rank": make_tensor("DT_FLOAT", [], [1.5]),
        "long": make_tensor("DT_INT64", [2], [2**40 + 1, 0]),
        "pair": make_tensor("DT_BOOL", [1, 2], [False, True]),
        "raw_bytes": make_tensor("DT_STRING", [], [b"\xff\x00!"]),
    }


def test_only_the_outputs_that_were_asked_for_come_back(launch: Start) -> None:
    served = launch(model(MODELS / "sentiment")).ready()
    request = stubs.PredictRequest(
        model_spec=stubs.ModelSpec(name="sentiment"), output_filter=["labels"]
    )
    request.inputs["words"].CopyFrom(
        make_tensor("DT_STRING", [1, 2], ["很".encode(), "喜欢".encode()])
    )
    request.inputs["nwords"].CopyFrom(make_tensor("DT_INT32", [1], [2]))
    code, answer = served.call(served.predictions.Predict, request)
    assert (code, dict(answer.outputs)) == (
        "OK",
        {"labels": make_tensor("DT_STRING", [1], [b"POS"])},
    )
    request.output_filter[:] = ["nothing"]
    code, message = served.call(served.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("output tensor alias not found in signature: nothing")


def test_other_methods_are_unimplemented(launch: Start) -> None:
    served = launch().ready()
    for method, request in (
        (served.predictions.Classify, stubs.ClassificationRequest()),
        (served.predictions.Regress, stubs.RegressionRequest()),
        (served.predictions.MultiInference, stubs.MultiInferenceRequest()),
    ):
        assert served.call(method, request)[0] == "UNIMPLEMENTED"


def test_a_long_message_is_cut(launch: Start, tmp_path: Path) -> None:
    served = launch().ready()
    code, message = served.reload(model("x" * 2000, name="m"))
    assert code == "INVALID_ARGUMENT"
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("x...TRUNCATED")


def test_warm_up_records_that_fail_fail_the_load(launch: Start, tmp_path: Path) -> None:
    shutil.copytree(MODELS / "warmed_up", tmp_path / "cold")
    records = tmp_path / "cold/1/assets.extra/tf_serving_warmup_requests"
    records.write_bytes(b"these are no records")
    assert launch(model(MODELS / "warmed_up")).ready().y("warmed_up") == ("OK", [3.0])
    served = launch().ready()
    assert served.reload(model(tmp_path / "cold"))[0] == "UNKNOWN"
    assert "Please verify your warmup data is in TFRecord format." in served.error("cold")
    careless = launch(model(tmp_path / "cold"), enable_model_warmup="false").ready()
    assert careless.y("cold") == ("OK", [3.0])


def test_without_predictions_it_runs_without_tensorflow(launch: Start) -> None:
    served = launch(model(HALF, 1, 2), command=OUR_COMMAND, no_predict="true").ready()
    code, answer = served.predict("half_plus_two")
    assert (code, dict(answer.outputs)) == ("OK", {})
    assert answer.model_spec.version.value == 2
    assert served.predict("half_plus_two", signature_name="no")[0] == "FAILED_PRECONDITION"
    assert "libtensorflow" not in Path(f"/proc/{served.process.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("name", "state", "code"),
    [
        ("corrupt", "END", "NOT_FOUND"),
        ("bad_variables", "END", "NOT_FOUND"),
        ("no_variables", "AVAILABLE", "FAILED_PRECONDITION"),
        ("stateless", "AVAILABLE", "OK"),
    ],
)
def test_without_predictions_broken_models_fail_as_they_do_with_them(
    launch: Start, name: str, state: str, code: str
) -> None:
    served = launch(no_predict="true").ready()
    served.reload(model(MODELS / name))
    assert served.states(name) == {1: state}
    assert served.predict(name)[0] == code
