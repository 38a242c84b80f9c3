"""TensorFlow Serving's REST JSON to messages and back, in its own words where it refuses."""

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.errors import PredictionFailed, PredictionRefused
from control_plane.domain.signature import Signature, TensorSpec, sample
from control_plane.serving import stubs, wire
from control_plane.serving.tensor import dtype_of, make_tensor, shape_of, values_of

WORDS = {"words": TensorSpec("DT_STRING", (-1, -1)), "nwords": TensorSpec("DT_INT32", (-1,))}
SIGNATURES = {
    "serving_default": Signature("", {"x": TensorSpec("DT_FLOAT", (-1,))}),
    "text": Signature("", WORDS),
    "raw": Signature("", {"image_bytes": TensorSpec("DT_STRING", (-1,))}),
    "half": Signature("", {"x": TensorSpec("DT_HALF", (-1,))}),
    "none": Signature(),
}


def inputs(body: dict[str, Any]) -> dict[str, Any]:
    request, _ = wire.predict_request(body, SIGNATURES)
    return {
        name: (dtype_of(tensor), shape_of(tensor), values_of(tensor))
        for name, tensor in request.inputs.items()
    }


def refusal(body: dict[str, Any]) -> str:
    with pytest.raises(PredictionRefused) as refused:
        wire.predict_request(body, SIGNATURES)
    return refused.value.message


def test_rows_of_one_input_are_joined_into_a_batch() -> None:
    assert inputs({"instances": [1.0, 2, 5.5]}) == {"x": ("DT_FLOAT", (3,), [1.0, 2.0, 5.5])}
    assert inputs({"instances": [[1.0, 2.0], [3.0, 4.0]]}) == {
        "x": ("DT_FLOAT", (2, 2), [1.0, 2.0, 3.0, 4.0])
    }


def test_rows_of_several_inputs_are_named() -> None:
    rows = [{"words": ["很", "喜欢"], "nwords": 2}, {"words": ["很", "垃圾"], "nwords": 2}]
    assert inputs({"signature_name": "text", "instances": rows}) == {
        "words": ("DT_STRING", (2, 2), [text.encode() for text in ("很", "喜欢", "很", "垃圾")]),
        "nwords": ("DT_INT32", (2,), [2, 2]),
    }


def test_columns_keep_their_shape() -> None:
    assert inputs({"inputs": [1.0]}) == {"x": ("DT_FLOAT", (1,), [1.0])}
    assert inputs({"inputs": {"x": 7}}) == {"x": ("DT_FLOAT", (), [7.0])}
    assert inputs({"inputs": {"x": []}}) == {"x": ("DT_FLOAT", (0,), [])}
    assert inputs({"signature_name": "text", "inputs": {"words": [["a"]], "nwords": [1]}}) == {
        "words": ("DT_STRING", (1, 1), [b"a"]),
        "nwords": ("DT_INT32", (1,), [1]),
    }


def test_base64_is_bytes_with_or_without_padding() -> None:
    raw = b"\x00\xff\x10\x80"
    for text in (base64.b64encode(raw).decode(), base64.b64encode(raw).decode().rstrip("=")):
        for body in ({"instances": [{"b64": text}]}, {"inputs": [{"b64": text}]}):
            found = inputs({"signature_name": "raw", **body})
            assert found == {"image_bytes": ("DT_STRING", (1,), [raw])}


def test_bare_nan_and_infinity_go_in_and_come_out() -> None:
    body = wire.loads(b'{"instances": [NaN, Infinity, -Infinity, 1.5]}')
    request, layout = wire.predict_request(body, SIGNATURES)
    answer = wire.dumps(wire.answer({"y": request.inputs["x"]}, layout))
    assert answer == b'{"predictions": [NaN, Infinity, -Infinity, 1.5]}'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": 3}, "Excepting 'instances' to be an list/array"),
        ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances' keys"),
        ({"signature_name": 3, "inputs": [1]}, "'signature_name' key must be a string value."),
        (
            {"signature_name": "no", "inputs": [1]},
            'Serving signature name: "no" not found in signature def',
        ),
        (
            {"signature_name": "none", "inputs": [1]},
            "Failed to get input map for signature: none",
        ),
        (
            {"instances": [1.0, "a"]},
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
                'JSON Value: "a" Type: String is not of expected type: float'
            ),
        ),
        ({"instances": [True]}, "JSON Value: true Type: True is not of expected type: float"),
        ({"instances": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        ({"instances": [[1], [1, 2]]}, "Expecting tensor size: 1 but got: 2"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, "Expecting shape [1,2] but got: [2,1]"),
        (
            {"instances": [1, {"x": 1}]},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            {"instances": [{"x": 1}, 1]},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            {"instances": [{"z": 1}]},
            (
                "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
                "JSON object: does not have named input: z"
            ),
        ),
        (
            {"signature_name": "text", "instances": [{"nwords": 1}]},
            "keys must be equal to: nwords,words",
        ),
        ({"signature_name": "text", "instances": [1]}, "instances is a plain list"),
        ({"signature_name": "text", "inputs": [1]}, "inputs is a plain value/list"),
        (
            {"signature_name": "text", "inputs": {"nwords": [1]}},
            "Missing named input: words in 'inputs' object.",
        ),
        (
            {"inputs": [[1, 2], [3]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ({"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": [[1], 2]}, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM."),
        (
            {"inputs": [16777216]},
            "Cannot convert JSON value: 16777216 to float without loss of precision.",
        ),
        ({"inputs": [1e39]}, "to float without loss of precision."),
        (
            {"signature_name": "text", "inputs": {"words": [["a"]], "nwords": [2**31]}},
            "Type: Number is not of expected type: int32",
        ),
        (
            {"signature_name": "text", "inputs": {"words": [["a"]], "nwords": [1.0]}},
            "JSON Value: 1.0 Type: Number is not of expected type: int32",
        ),
        ({"signature_name": "raw", "inputs": [{"b64": "*"}]}, "Unable to base64 decode"),
        (
            {"signature_name": "raw", "inputs": [{"b65": "aa"}]},
            "not formatted correctly for base64 data",
        ),
        (
            {"signature_name": "raw", "inputs": ["\ud800"]},
            "The surrogate pair in string is invalid.",
        ),
        (
            {"signature_name": "half", "inputs": [1.0]},
            "Conversion of JSON Value: 1.0 to type: half",
        ),
    ],
)
def test_a_body_that_does_not_fit_is_refused_in_the_servers_words(
    body: dict[str, Any], text: str
) -> None:
    assert text in refusal(body)


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"\xff", b"[" * 200_000, b'{"x": ' + b"9" * 5000 + b"}", b'{"x": "\\ud800"}'),
        b'{"inputs": {"x": 1, "x": 2}}',
    ],
    ids=["nothing", "half", "no text", "deep", "a number without end", "a lone surrogate", "twice"],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(PredictionRefused, match="JSON Parse error"):
        wire.loads(raw)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(PredictionRefused, match="JSON Value: 3 Is not object"):
        wire.loads(b"3")


def test_one_output_stands_alone_and_several_are_named() -> None:
    y, z = make_tensor("DT_INT64", [2], [1, 2]), make_tensor("DT_BOOL", [2], [True, False])
    assert wire.answer({"y": y}, "row") == {"predictions": [1, 2]}
    assert wire.answer({"y": y}, "columnar") == {"outputs": [1, 2]}
    assert wire.answer({"y": y, "z": z}, "row") == {
        "predictions": [{"y": 1, "z": True}, {"y": 2, "z": False}]
    }
    assert wire.answer({"y": y, "z": z}, "columnar") == {
        "outputs": {"y": [1, 2], "z": [True, False]}
    }


def test_outputs_without_a_batch_in_common_cannot_be_rows() -> None:
    one, two = make_tensor("DT_INT64", [1], [1]), make_tensor("DT_INT64", [2], [1, 2])
    scalar = make_tensor("DT_INT64", [], [1])
    with pytest.raises(PredictionRefused, match="z has inconsistent batch size: 2 expecting: 1"):
        wire.answer({"y": one, "z": two}, "row")
    with pytest.raises(PredictionRefused, match="y has no shape information"):
        wire.answer({"y": scalar}, "row")
    with pytest.raises(PredictionRefused, match="Cannot convert empty tensor map to JSON"):
        wire.answer({}, "row")


def test_strings_are_text_unless_their_name_or_content_says_bytes() -> None:
    text = make_tensor("DT_STRING", [1], ["好".encode()])
    raw = make_tensor("DT_STRING", [1], [b"\xff"])
    assert wire.answer({"y": text}, "columnar") == {"outputs": ["好"]}
    assert wire.answer({"y_bytes": text}, "columnar") == {"outputs": [{"b64": "5aW9"}]}
    assert wire.answer({"y": raw}, "columnar") == {"outputs": [{"b64": "/w=="}]}


@pytest.mark.parametrize(
    ("dtype", "code", "values"),
    [
        ("DT_FLOAT", "f", [0.5, -2.0]),
        ("DT_DOUBLE", "d", [0.1, 2.0]),
        ("DT_INT8", "b", [-1, 2]),
        ("DT_INT16", "h", [-300, 2]),
        ("DT_INT32", "i", [-70_000, 2]),
        ("DT_INT64", "q", [-(2**40), 2]),
        ("DT_UINT8", "B", [255, 2]),
        ("DT_UINT16", "H", [65_535, 2]),
        ("DT_UINT32", "I", [2**32 - 1, 2]),
        ("DT_UINT64", "Q", [2**64 - 1, 2]),
        ("DT_BOOL", "?", [True, False]),
        ("DT_HALF", "e", [1.5, -2.0]),
    ],
)
def test_packed_values_are_read(dtype: str, code: str, values: list[Any]) -> None:
    tensor = make_tensor(dtype, [2], [])
    tensor.tensor_content = struct.pack(f"<2{code}", *values)
    assert values_of(tensor) == values


def test_bfloat16_is_the_upper_half_of_a_float() -> None:
    tensor = make_tensor("DT_BFLOAT16", [1], [0x3FC0])
    assert values_of(tensor) == [1.5]


def test_the_last_of_too_few_values_fills_the_rest() -> None:
    assert values_of(make_tensor("DT_INT32", [3], [1, 2])) == [1, 2, 2]
    assert values_of(make_tensor("DT_STRING", [2], [])) == [b"", b""]
    assert values_of(make_tensor("DT_FLOAT", [2, 1], [])) == [0.0, 0.0]


def test_values_that_do_not_fit_are_a_failure() -> None:
    cut = make_tensor("DT_FLOAT", [2], [])
    cut.tensor_content = b"\x00" * 7
    for tensor in (cut, make_tensor("DT_INT32", [1], [1, 2]), make_tensor("DT_COMPLEX64", [1], [])):
        with pytest.raises(PredictionFailed):
            values_of(tensor)


LEAVES = {
    "DT_FLOAT": st.floats(width=32),
    "DT_DOUBLE": st.floats(),
    "DT_INT32": st.integers(-(2**31), 2**31 - 1),
    "DT_INT64": st.integers(-(2**63), 2**63 - 1),
    "DT_UINT32": st.integers(0, 2**32 - 1),
    "DT_UINT64": st.integers(0, 2**64 - 1),
    "DT_BOOL": st.booleans(),
    "DT_STRING": st.text(st.characters(exclude_categories=["Cs"])),
}


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[str, Any]:
    """A type, and nested lists of one shape of it, from two dimensions to none."""
    dtype = draw(st.sampled_from(sorted(LEAVES)))
    value: st.SearchStrategy[Any] = LEAVES[dtype]
    for size in draw(st.lists(st.integers(1, 3), max_size=2)):
        value = st.lists(value, min_size=size, max_size=size)
    return dtype, draw(value)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, float):
        return float(other) == one
    return type(one) is type(other) and bool(one == other)


def exact(dtype: str, value: Any) -> Any:
    """The 32-bit value that a shortest decimal stands for."""
    if isinstance(value, list):
        return [exact(dtype, item) for item in value]
    if dtype == "DT_FLOAT":
        return struct.unpack("<f", struct.pack("<f", value))[0]
    return value


@settings(deadline=None)
@given(typed_values())
def test_a_value_survives_the_way_to_a_tensor_and_back(typed: tuple[str, Any]) -> None:
    dtype, value = typed
    sent = stubs.TensorProto.FromString(wire.to_tensor(value, dtype).SerializeToString())
    answer = json.loads(wire.dumps(wire.answer({"y": sent}, "columnar")))
    assert same(value, exact(dtype, answer["outputs"]))


@settings(deadline=None)
@given(typed_values(), st.integers(1, 3))
def test_rows_come_back_as_the_rows_that_were_sent(typed: tuple[str, Any], count: int) -> None:
    dtype, value = typed
    signatures = {"serving_default": Signature("", {"x": TensorSpec(dtype)})}
    body = wire.loads(wire.dumps({"instances": [value] * count}))
    request, layout = wire.predict_request(body, signatures)
    answer = wire.answer({"x": request.inputs["x"]}, layout)
    assert same([value] * count, exact(dtype, answer["predictions"]))


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_survive_as_base64(raw: bytes) -> None:
    body = {"inputs": {"image_bytes": [{"b64": base64.b64encode(raw).decode()}]}}
    request, _ = wire.predict_request({"signature_name": "raw", **body}, SIGNATURES)
    answer = wire.answer({"image_bytes": request.inputs["image_bytes"]}, "columnar")
    assert answer == {"outputs": body["inputs"]["image_bytes"]}


@pytest.mark.parametrize("name", ["serving_default", "text", "raw"])
def test_a_sample_fits_its_signature(name: str) -> None:
    body = sample(SIGNATURES[name], name)
    from_json, _ = wire.predict_request(body, SIGNATURES)
    direct = wire.sample_request(name, SIGNATURES[name])
    for one, tensor in from_json.inputs.items():
        assert shape_of(tensor) == shape_of(direct.inputs[one])
        assert values_of(tensor) == values_of(direct.inputs[one])
