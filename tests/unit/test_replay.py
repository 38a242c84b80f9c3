import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.gate import Replay, Ruling, Tolerance, parse_gate
from control_plane.domain.replay import (
    Answer,
    Compared,
    Difference,
    Tensor,
    alike,
    compare,
    difference,
    percentile,
    rule,
    summarise,
)
from control_plane.domain.strategy import CANARY, GateSpec

NAN, INF = math.nan, math.inf
LOOSE = Tolerance(max_abs=0.1)


def floats(*values: float, shape: tuple[int, ...] = ()) -> Tensor:
    return Tensor("DT_FLOAT", shape or (len(values),), values)


def strings(*values: bytes) -> Tensor:
    return Tensor("DT_STRING", (len(values),), values)


def answered(record: int, old: Tensor, new: Tensor, ms: float = 1.0) -> Compared:
    return compare(record, Answer(1.0, {"y": old}), Answer(ms, {"y": new}))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (floats(1, 2), floats(1, 2), Difference()),
        (floats(1, 2), floats(1, 4), Difference(max_abs=2, max_rel=0.5)),
        (floats(0, 0), floats(0, -1), Difference(max_abs=1, max_rel=1)),
        (floats(1, NAN), floats(1, NAN), Difference()),
        (floats(1, 2), floats(NAN, INF), Difference(appeared=2)),
        (floats(NAN, 2), floats(1, 3), Difference(max_abs=1, max_rel=1 / 3, vanished=1)),
        (
            floats(1, 2, 3, 4, shape=(2, 2)),
            floats(1, 2, 4, 3, shape=(2, 2)),
            Difference(max_abs=1, max_rel=0.25, agreeing=1, compared=2),
        ),
        (
            floats(1, 2, shape=(1, 2)),
            floats(NAN, 2, shape=(1, 2)),
            Difference(agreeing=0, compared=1, appeared=1),
        ),
        (floats(1, 2, shape=(2, 1)), floats(1, 2, shape=(2, 1)), Difference()),
        (strings(b"a", b"b"), strings(b"a", b"c"), Difference("", 0, 0, 1, 2, discrete=True)),
        (floats(1, 2), floats(1), Difference("has shape [1], had [2]")),
        (floats(1), strings(b"1"), Difference("is string, was float")),
        (floats(1), None, Difference("is gone")),
        (None, floats(1), Difference("is new")),
        (Tensor("DT_FLOAT", (0,), ()), Tensor("DT_FLOAT", (0,), ()), Difference()),
        (Tensor("DT_HALF", (), [1.5]), Tensor("DT_HALF", (), [1.0]), Difference("", 0.5, 1 / 3)),
    ],
)  # fmt: skip
def test_a_difference_is_what_a_caller_would_see(
    old: Tensor | None, new: Tensor | None, found: Difference
) -> None:
    assert difference(old, new) == found


shapes = st.sampled_from([(4,), (2, 2), (1, 4), (4, 1)])
numbers = st.lists(st.floats(width=32), min_size=4, max_size=4)
tensors = st.builds(lambda shape, values: Tensor("DT_FLOAT", shape, values), shapes, numbers)


@given(tensors, tensors)
def test_comparing_does_not_depend_on_which_side_is_which(old: Tensor, new: Tensor) -> None:
    there, back = difference(old, new), difference(new, old)
    assert (there.max_abs, there.max_rel) == (back.max_abs, back.max_rel)
    assert (there.agreeing, there.compared) == (back.agreeing, back.compared)
    assert (there.appeared, there.vanished) == (back.vanished, back.appeared)
    assert 0 <= there.max_rel <= 2
    assert 0 <= there.agreeing <= there.compared


@given(tensors)
def test_equal_answers_have_no_differences(tensor: Tensor) -> None:
    copy = Tensor(tensor.dtype, tensor.shape, list(tensor.values))
    assert difference(tensor, copy) == alike(tensor.dtype, tensor.shape)


@given(st.lists(st.tuples(tensors, tensors), min_size=1, max_size=5))
def test_a_summary_does_not_depend_on_the_order_of_its_records(
    pairs: list[tuple[Tensor, Tensor]],
) -> None:
    results = [answered(at, *pair) for at, pair in enumerate(pairs, 1)]
    assert summarise(results) == summarise(reversed(results))
    json.dumps(rule(summarise(results), LOOSE).evidence, allow_nan=False)


def test_the_evidence_names_the_worst_record() -> None:
    results = [
        answered(1, floats(1.0), floats(1.05)),
        answered(2, floats(1.0), floats(3.0)),
        answered(3, floats(1.0), floats(2.0)),
    ]
    verdict = rule(summarise(results), LOOSE)
    assert verdict.ruling is Ruling.FAIL
    assert verdict.sentence == (
        "replay of 3 records: y differs by max_abs 2 (at most 0.1); worst at record 2"
    )
    assert verdict.evidence["worst_record"] == 2
    assert verdict.evidence["outputs"]["y"]["max_abs"] == 2.0


def test_what_is_within_tolerance_passes_with_its_numbers() -> None:
    verdict = rule(summarise([answered(7, floats(1.0), floats(1.05))]), LOOSE)
    assert (verdict.ruling, verdict.sentence) == (
        Ruling.PASS,
        "1 of 1 records are answered alike",
    )
    assert verdict.evidence["outputs"]["y"]["max_abs"] == pytest.approx(0.05)


ROWS = floats(0.4, 0.6, 0.4, 0.6, shape=(2, 2))
FLIPPED = floats(0.4, 0.6, 0.6, 0.4, shape=(2, 2))


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "told"),
    [
        (floats(1), floats(NAN), LOOSE, "y has 1 new NaN or Inf; worst at record 1"),
        (floats(1), floats(NAN), Tolerance(max_abs=1, nan=True), ""),
        (floats(NAN), floats(1), LOOSE, ""),
        (floats(1), floats(1, 2), LOOSE, "y has shape [2], had [1] in 1 record"),
        (ROWS, FLIPPED, Tolerance(max_abs=1), ""),
        (ROWS, FLIPPED, Tolerance(top1_agreement=0.5), ""),
        (ROWS, FLIPPED, Tolerance(top1_agreement=0.6), "y: 1 of 2 rows agree (at least 0.6)"),
        (ROWS, FLIPPED, Tolerance(max_rel=0.1), "y differs by max_rel 0.333 (at most 0.1)"),
        (strings(b"a"), strings(b"b"), LOOSE, "y: 0 of 1 elements agree (at least 1)"),
        (strings(b"a", b"b"), strings(b"a", b"c"), Tolerance(top1_agreement=0.5), ""),
    ],
)  # fmt: skip
def test_each_limit_is_its_own(old: Tensor, new: Tensor, tolerance: Tolerance, told: str) -> None:
    verdict = rule(summarise([answered(1, old, new)]), tolerance)
    assert verdict.ruling is (Ruling.FAIL if told else Ruling.PASS)
    assert told in verdict.sentence


@pytest.mark.parametrize(
    ("new", "ruling"),
    [
        (floats(9, 8), Ruling.PASS),
        (floats(NAN, 2), Ruling.FAIL),
        (floats(1), Ruling.FAIL),
    ],
)
def test_the_built_in_canary_lets_a_version_answer_otherwise_but_not_badly(
    new: Tensor, ruling: Ruling
) -> None:
    spec = next(one.options for one in CANARY.strategy.steps if isinstance(one, GateSpec))
    gate = parse_gate("gate", {"kind": "replay", **spec})
    assert isinstance(gate, Replay)
    assert rule(summarise([answered(1, floats(1, 2), new)]), gate.tolerance).ruling is ruling


def failed(record: int, old: str, new: str) -> Compared:
    sides = (Answer(1.0, {} if one else {"y": floats(1)}, one) for one in (old, new))
    return compare(record, *sides)


def test_errors_of_the_new_version_alone_count() -> None:
    results = [
        failed(1, "", ""),
        failed(2, "", "INTERNAL: no"),
        failed(3, "INTERNAL: no", ""),
        failed(4, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ]
    verdict = rule(summarise(results), LOOSE)
    assert verdict.ruling is Ruling.FAIL
    assert "1 record failed in the new version alone, as record 2: INTERNAL: no" in verdict.sentence
    assert verdict.evidence["worst_record"] == 2
    assert rule(summarise(results), Tolerance(max_abs=1, errors=1)).ruling is Ruling.PASS


def test_a_replay_in_which_nothing_could_be_compared_fails() -> None:
    verdict = rule(summarise([failed(1, "no", "no")]), Tolerance(max_abs=1, errors=9))
    assert verdict.ruling is Ruling.FAIL
    assert "nothing could be compared, as record 1: no" in verdict.sentence
    assert rule(summarise([]), LOOSE).ruling is Ruling.FAIL


def test_a_slower_version_fails_where_a_ratio_is_given() -> None:
    summary = summarise([answered(1, floats(1), floats(1), ms=3.0)])
    assert rule(summary, Tolerance(max_abs=1, latency_ratio=2)).ruling is Ruling.FAIL
    assert rule(summary, Tolerance(max_abs=1, latency_ratio=4)).ruling is Ruling.PASS


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(one) for one in range(1, 101)]
    assert [percentile(values, part) for part in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([], 0.5) == 0.0
