"""Compares what two versions answer to the same recorded requests, and rules on it.

Float outputs are compared element by element and, from rank 2 on, by which element of each row
is the largest; strings, integers and bools by how many elements are equal.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import eq, sub, truediv
from typing import Any, Final

from control_plane.domain.gate import Ruling, Tolerance, Verdict

_FLOATS: Final = frozenset({"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"})
_TINY: Final = 5e-324  # divides zero by zero to zero
_MOST_NAMED = 5  # violations in a sentence


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output: its values are flat, in C order."""

    dtype: str
    shape: tuple[int, ...]
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version said to one record."""

    latency_ms: float
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One output of one record, in two answers."""

    mismatch: str = ""  # of presence, type or shape; nothing else is compared then
    max_abs: float = 0.0
    max_rel: float = 0.0  # of the larger magnitude
    agreeing: int = 0  # rows with the same largest element, or equal elements
    compared: int = 0  # rows or elements in all; 0 where agreement means nothing
    discrete: bool = False
    appeared: int = 0  # elements that are NaN or Inf in the new answer only
    vanished: int = 0  # ... in the current answer only

    @property
    def weight(self) -> tuple[bool, int, float, int]:
        """What puts the worst record first."""
        missed = self.compared - self.agreeing
        return bool(self.mismatch), self.appeared, self.max_abs, missed


@dataclass(frozen=True, slots=True)
class Compared:
    """One record, answered by both."""

    record: int
    current: Answer
    new: Answer
    outputs: Mapping[str, Difference]


def compare(record: int, current: Answer, new: Answer) -> Compared:
    """Compare two answers to a record; where one is an error there is nothing to compare."""
    if current.error or new.error:
        return Compared(record, current, new, {})
    names = sorted({*current.outputs, *new.outputs})
    found = {one: difference(current.outputs.get(one), new.outputs.get(one)) for one in names}
    slim = Answer(current.latency_ms), Answer(new.latency_ms)  # values are not kept
    return Compared(record, *slim, found)


def difference(current: Tensor | None, new: Tensor | None) -> Difference:
    """Compare an output of two answers."""
    if current is None or new is None:
        return Difference("is new" if current is None else "is gone")
    if current.dtype != new.dtype:
        return Difference(f"is {_type(new)}, was {_type(current)}")
    if current.shape != new.shape:
        return Difference(f"has shape {list(new.shape)}, had {list(current.shape)}")
    if current.dtype in _FLOATS:
        return _floats(current, new)
    if current.values == new.values:
        return alike(new.dtype, new.shape)
    equal = sum(map(eq, current.values, new.values))
    return Difference(agreeing=equal, compared=len(new.values), discrete=True)


def alike(dtype: str, shape: tuple[int, ...]) -> Difference:
    """Return what two outputs differ in whose every byte is the same."""
    if dtype in _FLOATS:
        return Difference(agreeing=_rows(shape), compared=_rows(shape))
    return Difference(agreeing=math.prod(shape), compared=math.prod(shape), discrete=True)


def _type(tensor: Tensor) -> str:
    return tensor.dtype.removeprefix("DT_").lower()


def _floats(current: Tensor, new: Tensor) -> Difference:
    old, now = current.values, new.values
    rows = _rows(current.shape)
    if all(map(math.isfinite, old)) and all(map(math.isfinite, now)):
        agreeing = rows if old == now else _agreeing(old, now, rows)
        return Difference("", *_distance(old, now), agreeing, rows)
    pairs = list(zip(map(math.isfinite, old), map(math.isfinite, now), strict=True))
    both = [at for at, pair in enumerate(pairs) if all(pair)]
    farthest = _distance([old[at] for at in both], [now[at] for at in both])
    appeared, vanished = pairs.count((True, False)), pairs.count((False, True))
    agreeing = _agreeing(old, now, rows)
    return Difference("", *farthest, agreeing, rows, appeared=appeared, vanished=vanished)


def _distance(old: Sequence[float], now: Sequence[float]) -> tuple[float, float]:
    """The largest difference of finite numbers, and the largest part of the larger magnitude."""
    if old == now or not old:
        return 0.0, 0.0
    apart = list(map(abs, map(sub, old, now)))
    sizes = map(max, map(abs, old), map(abs, now), repeat(_TINY))
    return float(max(apart)), float(max(map(truediv, apart, sizes)))


def _rows(shape: tuple[int, ...]) -> int:
    """How many rows have a largest element that means something."""
    return math.prod(shape[:-1]) if len(shape) > 1 and shape[-1] > 1 else 0


def _agreeing(old: Sequence[float], now: Sequence[float], rows: int) -> int:
    width = len(old) // rows if rows else 0
    starts = range(0, rows * width, width or 1)
    return sum(_top(old[at : at + width]) == _top(now[at : at + width]) for at in starts)


def _top(row: Sequence[float]) -> int:
    """The place of the largest element; of the first NaN where there is one."""
    broken = next((at for at, one in enumerate(row) if one != one), None)
    return row.index(max(row)) if broken is None else broken


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """One output over all records."""

    name: str
    mismatch: str = ""  # the first
    mismatches: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    agreeing: int = 0
    compared: int = 0
    discrete: bool = False
    appeared: int = 0
    vanished: int = 0
    worst_record: int = 0  # 0: every record is alike

    @property
    def agreement(self) -> float:
        """The part of rows or elements that agree."""
        return self.agreeing / self.compared if self.compared else 1.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; 0 where nothing was answered."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """All records of a replay."""

    records: int
    outputs: tuple[OutputSummary, ...]
    current: Latency
    new: Latency
    broken: Mapping[int, str]  # by record: the error of the new version alone
    mended: Mapping[int, str]  # by record: the error of the current version alone
    refused: Mapping[int, str]  # by record: the error of both

    @property
    def answered(self) -> int:
        """Records that both versions answered."""
        return self.records - len(self.broken) - len(self.mended) - len(self.refused)


def summarise(results: Iterable[Compared]) -> Summary:
    """Put the records of a replay together; their order does not matter."""
    ordered = sorted(results, key=lambda one: one.record)
    good = [one for one in ordered if not (one.current.error or one.new.error)]
    names = sorted({name for one in good for name in one.outputs})
    errors = [(one.record, one.current.error, one.new.error) for one in ordered]
    return Summary(
        records=len(ordered),
        outputs=tuple(_output(name, good) for name in names),
        current=_latency(one.current.latency_ms for one in good),
        new=_latency(one.new.latency_ms for one in good),
        broken={record: new for record, old, new in errors if new and not old},
        mended={record: old for record, old, new in errors if old and not new},
        refused={record: new for record, old, new in errors if old and new},
    )


def _output(name: str, results: Sequence[Compared]) -> OutputSummary:
    seen = [(one.record, one.outputs.get(name, Difference())) for one in results]
    each = [one for _, one in seen]
    worst, farthest = max(seen, key=lambda pair: (*pair[1].weight, -pair[0]))
    mismatches = [one.mismatch for one in each if one.mismatch]
    return OutputSummary(
        name=name,
        mismatch=mismatches[0] if mismatches else "",
        mismatches=len(mismatches),
        max_abs=max(one.max_abs for one in each),
        max_rel=max(one.max_rel for one in each),
        agreeing=sum(one.agreeing for one in each),
        compared=sum(one.compared for one in each),
        discrete=any(one.discrete for one in each),
        appeared=sum(one.appeared for one in each),
        vanished=sum(one.vanished for one in each),
        worst_record=worst if any(farthest.weight) else 0,
    )


def _latency(values: Iterable[float]) -> Latency:
    ordered = sorted(values)
    return Latency(*(percentile(ordered, part) for part in (0.5, 0.95, 0.99)))


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return the smallest value that is not below this part of all; 0 of none."""
    if not ordered:
        return 0.0
    return round(ordered[max(math.ceil(part * len(ordered)) - 1, 0)], 3)


def rule(summary: Summary, tolerance: Tolerance) -> Verdict:
    """Rule on a replay; the evidence has every number, and the sentence what went too far."""
    wrong = list(_violations(summary, tolerance))
    evidence = _evidence(summary) | {"violations": wrong}
    if not wrong:
        sentence = f"{summary.answered} of {summary.records} records are answered alike"
        return Verdict(Ruling.PASS, sentence, evidence)
    rest = len(wrong) - _MOST_NAMED
    more = f"; and {rest} more" if rest > 0 else ""
    sentence = f"replay of {summary.records} records: {'; '.join(wrong[:_MOST_NAMED])}{more}"
    return Verdict(Ruling.FAIL, sentence, evidence)


def _violations(summary: Summary, tolerance: Tolerance) -> Iterator[str]:
    if len(summary.broken) > tolerance.errors:
        record, error = next(iter(summary.broken.items()))
        count = _many(len(summary.broken), "record")
        yield f"{count} failed in the new version alone, as record {record}: {error}"
    if not summary.answered and not summary.broken:
        record, error = next(iter({**summary.refused, **summary.mended}.items()), (0, "no records"))
        yield f"nothing could be compared, as record {record}: {error}"
    for one in summary.outputs:
        yield from _of_output(one, tolerance)
    ratio, limit = _ratio(summary), tolerance.latency_ratio
    if limit is not None and ratio > limit:
        yield f"the p95 latency is {_number(ratio)} times the current one (at most {limit:g})"


def _of_output(one: OutputSummary, tolerance: Tolerance) -> Iterator[str]:
    at = f"worst at record {one.worst_record}"
    if one.mismatch:
        yield f"{one.name} {one.mismatch} in {_many(one.mismatches, 'record')}; {at}"
    if one.appeared and not tolerance.nan:
        yield f"{one.name} has {_many(one.appeared, 'new NaN or Inf', '')}; {at}"
    for name, found in (("max_abs", one.max_abs), ("max_rel", one.max_rel)):
        limit = getattr(tolerance, name)
        if limit is not None and found > limit:
            yield f"{one.name} differs by {name} {_number(found)} (at most {limit:g}); {at}"
    least = tolerance.top1_agreement
    if least is None and one.discrete:
        least = 1.0
    if least is not None and one.agreement < least:
        what = "elements" if one.discrete else "rows"
        agree = f"{one.agreeing} of {one.compared} {what} agree"
        yield f"{one.name}: {agree} (at least {least:g}); {at}"


def _evidence(summary: Summary) -> dict[str, Any]:
    return {
        "records": summary.records,
        "answered": summary.answered,
        "worst_record": _worst(summary),
        "outputs": {one.name: _output_evidence(one) for one in summary.outputs},
        "latency_ms": {"current": _numbers(summary.current), "new": _numbers(summary.new)},
        "errors": {
            "new": _first(summary.broken),
            "current": _first(summary.mended),
            "both": _first(summary.refused),
        },
    }


def _worst(summary: Summary) -> int | None:
    if summary.broken:
        return next(iter(summary.broken))
    ranked = sorted(
        summary.outputs, key=lambda one: (one.mismatches, one.appeared, one.max_abs, -one.agreement)
    )
    return (ranked[-1].worst_record or None) if ranked else None


def _output_evidence(one: OutputSummary) -> dict[str, Any]:
    return {
        "max_abs": _finite(one.max_abs),
        "max_rel": _finite(one.max_rel),
        "agreement": round(one.agreement, 6),
        "agreeing": one.agreeing,
        "compared": one.compared,
        "nan_or_inf": one.appeared,
        "mismatch": one.mismatch,
        "worst_record": one.worst_record or None,
    }


def _numbers(latency: Latency) -> dict[str, float]:
    return {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99}


def _first(errors: Mapping[int, str]) -> dict[str, Any]:
    some = dict(list(errors.items())[:_MOST_NAMED])
    return {"count": len(errors), "by_record": {str(at): text for at, text in some.items()}}


def _ratio(summary: Summary) -> float:
    return summary.new.p95 / summary.current.p95 if summary.current.p95 else 1.0


def _finite(value: float) -> float | str:
    """JSON has no infinity; doubles at the ends of their range may be that far apart."""
    return value if math.isfinite(value) else "Infinity"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _many(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{'' if count == 1 else plural}"
