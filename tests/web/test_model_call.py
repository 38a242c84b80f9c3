"""Try it: what a form means, and the same call in other words."""

import ast
import json
import shlex

import pytest

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.signature import Signature, TensorSpec
from control_plane.web.model_call import Asked, curl, filled_in, literal, python, samples, target
from control_plane.web.model_ribbon import lasted, ribbon

NAMES = {"x": "DT_FLOAT", "text": "DT_STRING", "flag": "DT_BOOL"}
SIGNATURE = Signature("predict", {name: TensorSpec(kind, (-1, 2)) for name, kind in NAMES.items()})


def asked(at: int | str | None, **inputs: object) -> Asked:
    return Asked("eu", "m", at, "serving_default", inputs)


@pytest.mark.parametrize(
    ("text", "meant"), [("", None), ("label:stable", "stable"), ("version:0", 0)]
)
def test_a_form_means_a_label_a_version_or_nobody(text: str, meant: int | str | None) -> None:
    assert target(text) == meant


@pytest.mark.parametrize("text", ["label:", "version:x", "version:", "version:-1", "stable", "٣:"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid):
        target(text)


def test_a_form_is_filled_in_with_what_its_signature_takes() -> None:
    given = samples(SIGNATURE)
    assert given == {
        "x": "[[0.0, 0.0]]",
        "text": '[["", ""]]',
        "flag": "[[false, false]]",
    }
    sent = filled_in({f"input.{name}": text for name, text in given.items()} | {"at": ""})
    assert sent == {"x": [[0.0, 0.0]], "text": [["", ""]], "flag": [[False, False]]}


def test_what_nobody_would_type_is_not_filled_in() -> None:
    image = Signature(inputs={"image": TensorSpec("DT_FLOAT", (-1, 2**40, 2**40, 3))})
    assert samples(image) == {"image": ""}


@pytest.mark.parametrize("text", ["", "[1,", "[" * 100_000, "1" * 5_000, "{'a': 1}"])
def test_what_is_no_json_names_its_input(text: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        filled_in({"input.x": text})
    assert caught.value.field == "x"


@pytest.mark.parametrize(
    ("at", "path"),
    [(None, "m"), (3, "m/versions/3"), ("stable", "m/labels/stable")],
)
def test_curl_sends_the_same_body_to_the_same_place(at: int | str | None, path: str) -> None:
    call = asked(at, text=["it's $(rm) `x`", "中文"])
    words = shlex.split(curl(call, "http://cp:8080/", token=True).replace("\\\n", " "))
    assert f"http://cp:8080/api/v1/fleets/eu/models/{path}:predict" in words
    assert json.loads(words[-1]) == json.loads(call.body())
    assert "Authorization: Bearer $TFSCTL_TOKEN" in words


def test_a_long_body_is_a_file_in_both() -> None:
    call = asked("stable", x=[1.0] * 3_000)
    assert "@request.json" in curl(call, "http://cp", token=False)
    code = python(call, SIGNATURE, "s:8500")
    ast.parse(code)
    assert 'open("request.json")' in code
    assert len(code) < 1_000


def test_python_names_whom_it_asks_and_each_type() -> None:
    code = python(asked("stable", x=[1.0], text=["a'b"], flag=[True]), SIGNATURE, "s:8500")
    ast.parse(code)
    assert "version_label = 'stable'" in code
    assert "dtype=tf.float32" in code
    assert "dtype=tf.string" in code
    assert "[True]" in code
    assert "model_spec.version.value = 7" in python(asked(7), SIGNATURE, "s:8500")
    hostile = Signature(inputs={"\"'\n": TensorSpec("DT_FLOAT")})
    ast.parse(python(Asked("eu", "m", None, "'\n", {"\"'\n": [1]}), hostile, "s:8500"))


def test_values_are_written_as_python_writes_them() -> None:
    assert literal([True, None, {"b64": "AQI="}, 1.5]) == r"[True, None, b'\x01\x02', 1.5]"
    assert literal(json.loads("[NaN, -Infinity]")) == '[float("nan"), float("-inf")]'
    assert literal({"b64": "not base64"}) == "{'b64': 'not base64'}"


def test_a_ribbon_shows_by_height_and_words_where_a_version_could_answer() -> None:
    def share(since: str, until: str, available: int, failed: int = 0) -> dict[str, object]:
        day = "2026-01-01T{}:00+00:00"
        counts = {"available": available, "moving": 0, "failed": failed}
        return {"since": day.format(since), "until": day.format(until), **counts}

    shares = [share("00:00", "06:00", 0, 1), share("06:00", "12:00", 1), share("12:00", "18:00", 2)]
    told = {
        "since": "2026-01-01T00:00:00+00:00",
        "until": "2026-01-01T18:00:00+00:00",
        "servers": 2,
        "versions": [{"version": 2, "shares": shares}],
    }
    found = ribbon(told)
    (row,) = found["rows"]
    assert [bar["look"] for bar in row["bars"]] == ["failed", "partly", "everywhere"]
    assert [bar["x"] for bar in row["bars"]] == [0, 33.33, 66.67]
    heights = [bar["height"] for bar in row["bars"]]
    assert heights == sorted(heights)
    assert (row["everywhere"], row["partly"], row["failed"]) == ("6 h 0 min", "6 h 0 min", True)
    assert [tick["x"] for tick in found["ticks"]] == [33.33, 66.67]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, ""), (59, "59 s"), (61, "1 min 1 s"), (86_400, "24 h 0 min")]
)
def test_times_are_told_in_two_units(seconds: float, words: str) -> None:
    assert lasted([seconds]) == words
