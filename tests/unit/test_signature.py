"""What a change of signatures means, and bodies made from them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.signature import (
    Change,
    Signature,
    Signatures,
    TensorSpec,
    diff,
    from_json,
    sample,
    to_json,
)

PREDICT = "tensorflow/serving/predict"
X = TensorSpec("DT_FLOAT", (-1, 3))
BASE = Signature(PREDICT, {"x": X}, {"y": TensorSpec("DT_FLOAT", (-1,))})


def kinds(new: Signature, old: Signature = BASE) -> list[str]:
    return [change.kind for change in diff({"s": old}, {"s": new}).changes]


def verdict(new: Signature, old: Signature = BASE) -> str:
    return diff({"s": old}, {"s": new}).verdict


def with_x(spec: TensorSpec) -> Signature:
    return replace(BASE, inputs={"x": spec})


def with_y(spec: TensorSpec) -> Signature:
    return replace(BASE, outputs={"y": spec})


def test_equal_signatures_are_identical() -> None:
    assert diff({"s": BASE}, {"s": BASE}).verdict == "identical"


@pytest.mark.parametrize(
    ("new", "kind"),
    [
        (replace(BASE, outputs={**BASE.outputs, "z": X}), "output-added"),
        (with_x(TensorSpec("DT_FLOAT", (-1, -1))), "dimension-widened"),
        (with_x(TensorSpec("DT_FLOAT", None)), "rank-widened"),
    ],
)
def test_what_old_callers_do_not_notice_is_compatible(new: Signature, kind: str) -> None:
    assert (verdict(new), kinds(new)) == ("compatible", [kind])


@pytest.mark.parametrize(
    ("new", "kind"),
    [
        (replace(BASE, method_name="tensorflow/serving/classify"), "method-changed"),
        (replace(BASE, inputs={**BASE.inputs, "z": X}), "input-added"),
        (replace(BASE, inputs={}), "input-removed"),
        (replace(BASE, inputs={"z": X}), "input-renamed"),
        (replace(BASE, outputs={}), "output-removed"),
        (replace(BASE, outputs={"z": BASE.outputs["y"]}), "output-renamed"),
        (with_x(TensorSpec("DT_DOUBLE", (-1, 3))), "dtype-changed"),
        (with_x(TensorSpec("DT_FLOAT", (-1, 3, 1))), "rank-changed"),
        (with_x(TensorSpec("DT_FLOAT", (1, 3))), "dimension-narrowed"),
        (with_x(TensorSpec("DT_FLOAT", (-1, 4))), "dimension-changed"),
        (with_y(TensorSpec("DT_INT64", (-1,))), "dtype-changed"),
        (with_y(TensorSpec("DT_FLOAT", None)), "rank-widened"),
        (with_y(TensorSpec("DT_FLOAT", (2,))), "dimension-narrowed"),
    ],
)
def test_what_old_callers_would_notice_is_breaking(new: Signature, kind: str) -> None:
    assert (verdict(new), kinds(new)) == ("breaking", [kind])


def test_an_unknown_rank_made_known_is_breaking() -> None:
    assert verdict(BASE, old=with_x(TensorSpec("DT_FLOAT", None))) == "breaking"


def test_a_signature_added_is_compatible_and_one_gone_is_breaking() -> None:
    assert diff({"s": BASE}, {"s": BASE, "t": BASE}).verdict == "compatible"
    assert diff({"s": BASE, "t": BASE}, {"s": BASE}).changes == (
        Change("signature-removed", "t", before="(x) -> (y)"),
    )


def test_two_inputs_of_one_shape_are_not_taken_for_renamed() -> None:
    old = replace(BASE, inputs={"a": X, "b": X})
    assert kinds(replace(BASE, inputs={"c": X, "d": X}), old) == [
        *["input-removed"] * 2,
        *["input-added"] * 2,
    ]


def test_the_text_says_the_verdict_first_and_what_breaks_before_the_rest() -> None:
    new = Signature(PREDICT, {"x": TensorSpec("DT_DOUBLE", (-1, 3))}, {**BASE.outputs, "z": X})
    assert diff({"serving_default": BASE}, {"serving_default": new}).text.splitlines() == [
        "breaking: 1 change of 2 would fail callers",
        "! serving_default.inputs.x: dtype changed: DT_FLOAT → DT_DOUBLE",
        "+ serving_default.outputs.z: output added: DT_FLOAT [?, 3]",
    ]


def test_a_sample_has_size_one_where_any_size_goes() -> None:
    signature = Signature(
        PREDICT,
        {
            "words": TensorSpec("DT_STRING", (-1, 2)),
            "image_bytes": TensorSpec("DT_STRING", (-1,)),
            "n": TensorSpec("DT_INT32", ()),
            "flag": TensorSpec("DT_BOOL", (1,)),
            "free": TensorSpec("DT_DOUBLE", None),
            "none": TensorSpec("DT_FLOAT", (0, 2)),
        },
    )
    assert sample(signature, "other") == {
        "signature_name": "other",
        "inputs": {
            "words": [["", ""]],
            "image_bytes": [{"b64": ""}],
            "n": 0,
            "flag": [False],
            "free": 0.0,
            "none": [],
        },
    }


specs = st.builds(
    TensorSpec,
    st.sampled_from(["DT_FLOAT", "DT_STRING", "DT_INT64"]),
    st.none() | st.lists(st.integers(-1, 4), max_size=3).map(tuple),
)
sides = st.dictionaries(st.sampled_from("abc"), specs, max_size=3)
signatures = st.dictionaries(
    st.sampled_from(["serving_default", "other"]),
    st.builds(Signature, st.sampled_from([PREDICT, ""]), sides, sides),
    max_size=2,
)


@settings(deadline=None)
@given(signatures)
def test_json_keeps_everything(given_: Signatures) -> None:
    assert from_json(to_json(given_)) == given_


@settings(deadline=None)
@given(signatures, signatures)
def test_the_verdict_is_breaking_exactly_if_a_change_is(old: Signatures, new: Signatures) -> None:
    judged = diff(old, new)
    breaking = any(change.breaking for change in judged.changes)
    expected: Any = "breaking" if breaking else "compatible" if judged.changes else "identical"
    assert judged.verdict == expected
    assert (judged.verdict == "identical") == (old == new)
