"""The dev server's REST front, over real HTTP."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Start
from tests.contract.rested import Rested
from tests.contract.served import MODELS, Served, eventually, free_port, model, text_of

HALF = MODELS / "half_plus_two"
NAME = "half_plus_two"
MALFORMED = "Malformed request: "


@pytest.fixture(scope="module")
def rest(devserver: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rested]:
    """Versions 1 and 2, with `stable` on 1; nobody changes anything about them."""
    folder = tmp_path_factory.mktemp("rest")
    with contextlib.ExitStack() as running:

        def launched(*models: Any, **flags: object) -> Served:
            served = Served(devserver, folder, text_of(*models), **flags)
            running.callback(served.close)
            return served

        yield labelled(launched)


def labelled(launch: Start) -> Rested:
    made, words = model(HALF, 1, 2, stable=1), model(MODELS / "sentiment")
    made.version_labels["blue green"] = 2
    rest = Rested(launch, model(HALF, 1, 2), words)
    eventually(lambda: rest.server.states(NAME), {1: "AVAILABLE", 2: "AVAILABLE"})
    assert rest.server.reload(made, words) == ("OK", "")
    return rest


def entry(version: str) -> dict[str, object]:
    status = {"error_code": "OK", "error_message": ""}
    return {"version": version, "state": "AVAILABLE", "status": status}


def test_status_lists_all_versions_with_their_numbers_as_strings(rest: Rested) -> None:
    both = {"model_version_status": [entry("2"), entry("1")]}
    assert rest.get(f"/v1/models/{NAME}") == (200, both)
    assert rest.get(f"/V1/Models/{NAME}/versions/1") == (
        200,
        {"model_version_status": [entry("1")]},
    )
    assert rest.get(f"/v1/models/{NAME}/labels/stable") == (200, both)
    assert rest.get(f"/v1/models/{NAME}/labels/no_such_label") == (200, both)
    assert rest.get(f"/v1/models/{NAME}/METADATA") == (200, both)


def test_status_of_what_was_never_known_is_not_found(rest: Rested) -> None:
    missing = {"error": "Could not find any versions of model ghost"}
    assert rest.get("/v1/models/ghost") == (404, missing)
    missing = {"error": f"Could not find version 9 of model {NAME}"}
    assert rest.get(f"/v1/models/{NAME}/versions/9") == (404, missing)


def test_status_tells_why_a_load_failed(launch: Start) -> None:
    rest = Rested(launch)
    rest.server.reload(model(MODELS / "corrupt"))
    status, answer = rest.get("/v1/models/corrupt")
    ((one,),) = answer.values()
    assert (status, one["state"], one["status"]["error_code"]) == (200, "END", "DATA_LOSS")
    assert one["status"]["error_message"]


@pytest.mark.parametrize(
    ("which", "version"),
    [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1"), ("/labels/blue%20green", "2")],
)
def test_metadata_and_predictions_come_from_the_version_that_the_path_names(
    rest: Rested, which: str, version: str
) -> None:
    status, answer = rest.get(f"/v1/models/{NAME}{which}/metadata")
    assert status == 200
    spec = {"name": NAME, "version": version, "signature_name": ""}
    assert answer["model_spec"] == spec
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    taken = signatures["serving_default"]["inputs"]["x"]
    assert (taken["dtype"], taken["tensor_shape"]["unknown_rank"]) == ("DT_FLOAT", False)
    assert taken["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    y = {"1": 3.0, "2": 103.0}[version]
    asked = rest.post(f"/v1/models/{NAME}{which}:predict", {"instances": [2]})
    assert asked == (200, {"predictions": [y]})
    asked = rest.post(f"/v1/models/{NAME}{which}:predict", {"inputs": {"x": [2]}})
    assert asked == (200, {"outputs": [y]})


@pytest.mark.parametrize(
    ("which", "status", "error"),
    [
        ("ghost", 404, "Servable not found for request: Latest(ghost)"),
        (f"{NAME}/versions/9", 404, f"Servable not found for request: Specific({NAME}, 9)"),
        (f"{NAME}/labels/nobody", 400, "Unrecognized servable version label: nobody"),
    ],
)
def test_versions_that_do_not_resolve_are_refused_alike_by_metadata_and_predictions(
    rest: Rested, which: str, status: int, error: str
) -> None:
    assert rest.get(f"/v1/models/{which}/metadata") == (status, {"error": error})
    asked = rest.post(f"/v1/models/{which}:predict", {"instances": [2]})
    assert asked == (status, {"error": error})


def test_a_server_that_never_had_a_config_is_unavailable_by_label(launch: Start) -> None:
    rest = Rested(launch, text="# nothing yet\n")
    told = {"error": "Model labels does not init yet.stable"}
    assert rest.get("/v1/models/m/labels/stable/metadata") == (503, told)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"instances": ["two"]}, "is not of expected type: float"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"signature_name": "no", "inputs": [1]}, 'Serving signature name: "no" not found'),
    ],
)
def test_bodies_that_do_not_fit_are_refused_in_the_words_of_the_json_reader(
    rest: Rested, document: object, error: str
) -> None:
    status, answer = rest.post(f"/v1/models/{NAME}:predict", document)
    assert (status, error in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"[1]", "Is not object"),
        (b'{"instances": [' + b"1" * 5000 + b"]}", "JSON Parse error"),
        (b'{"instances": ["\\ud800"]}', "JSON Parse error"),
    ],
)
def test_bodies_that_are_no_documents_are_refused(rest: Rested, body: bytes, error: str) -> None:
    status, _, text = rest.raw("POST", f"/v1/models/{NAME}:predict", body)
    assert (status, error in json.loads(text)["error"]) == (400, True)


def test_words_go_in_and_come_out_as_text(rest: Rested) -> None:
    row = {"words": ["很", "喜欢"], "nwords": 2}
    status, answer = rest.post("/v1/models/sentiment:predict", {"instances": [row]})
    assert status == 200
    assert answer["predictions"][0]["labels"] == "POS"


@pytest.mark.parametrize("action", ["classify", "regress"])
def test_other_methods_are_not_implemented(rest: Rested, action: str) -> None:
    status, answer = rest.post(f"/v1/models/{NAME}:{action}", {"examples": [{"x": 1}]})
    assert (status, answer) == (501, {"error": "The dev server does not serve this method."})


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", "/v1/models/versions/1/metadata", "Missing model name in request."),
        ("GET", "/v1/foo", f"{MALFORMED}GET /v1/foo"),
        ("GET", "/v1/models/a%20b:predict", f"{MALFORMED}GET /v1/models/a%20b:predict"),
        ("GET", "/v1/models/m/", f"{MALFORMED}GET /v1/models/m/"),
        ("POST", "/v1/models", f"{MALFORMED}POST /v1/models"),
        (
            "POST",
            "/v1/models/m/version/5:predict",
            f"{MALFORMED}POST /v1/models/m/version/5:predict",
        ),
        ("POST", "/v1/models/m:predict?v=1", f"{MALFORMED}POST /v1/models/m:predict?v=1"),
        ("POST", "/v1/models/m:PREDICT", f"{MALFORMED}POST /v1/models/m:PREDICT"),
        ("PUT", "/v1/models/m", f"{MALFORMED}PUT /v1/models/m"),
        ("DELETE", "/v1/models/m", f"{MALFORMED}DELETE /v1/models/m"),
        ("OPTIONS", "/v1/models/m", "Origin header is missing in CORS preflight"),
    ],
)
def test_requests_that_mean_nothing_are_refused_in_these_words(
    rest: Rested, method: str, path: str, error: str
) -> None:
    status, kind, text = rest.raw(method, path)
    assert (status, kind, json.loads(text)) == (400, "application/json", {"error": error})


def test_a_query_belongs_to_the_name_before_it(rest: Rested) -> None:
    missing = {"error": f"Could not find any versions of model {NAME}?v=1"}
    assert rest.get(f"/v1/models/{NAME}?v=1") == (404, missing)


def test_what_the_http_server_itself_refuses_is_a_page(rest: Rested) -> None:
    for path, status in (("/", 404), ("//v1/models", 404), ("/v1/models/%zz", 400)):
        answered = rest.raw("GET", path)
        assert answered[:2] == (status, "text/html"), path
    for version in (2**63, "1" * 5000):
        refused = rest.raw("GET", f"/v1/models/m/versions/{version}")
        assert refused == (400, "application/json", "")
    assert rest.raw("OPTIONS", "/v1/models/m", Origin="http://a.example")[0] == 200
    assert rest.raw("POST", "/v1/models/m:predict", b"x", **{"Transfer-Encoding": "gzip"})[0] == 411


def test_one_connection_carries_many_requests(rest: Rested) -> None:
    sent = f"GET /v1/models/{NAME} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = f"GET /v1/models/{NAME} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", rest.port), 20) as line:
        line.sendall(sent + last)
        answered = b"".join(iter(lambda: line.recv(1 << 16), b""))
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 2


def test_a_blocked_reload_does_not_stop_rest(launch: Start, tmp_path: Path) -> None:
    rest = Rested(launch, model(HALF))
    ghost = model(tmp_path / "ghost")
    assert rest.server.reload(model(HALF), ghost, timeout_s=0.3)[0] == "DEADLINE_EXCEEDED"
    asked = rest.post(f"/v1/models/{NAME}/versions/1:predict", {"instances": [2]})
    assert asked == (200, {"predictions": [3.0]})


def test_without_a_port_of_its_own_the_server_goes_on_over_grpc(launch: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        served = launch(model(HALF), rest_api_port=port).ready()
        assert served.y(NAME) == ("OK", [3.0])
        told = f"Failed to start HTTP Server at 127.0.0.1:{port}"
        eventually(lambda: told in served.output, True)
    port = free_port()
    served = launch(model(HALF), port=port, rest_api_port=port).ready()
    assert served.y(NAME) == ("OK", [3.0])
    assert "rest_api_port cannot be same as port" in served.output
