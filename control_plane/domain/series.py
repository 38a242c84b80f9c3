"""Judges the increase of series that servers or monitoring systems count; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from control_plane.domain.gate import Metrics, Ruling, Series, Verdict

_ENDLESS = 1e12  # JSON has no infinity


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of Prometheus text."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the counters of one place stood at one time."""

    value: float
    per: float | None  # None: there is nothing to divide by


@dataclass(frozen=True, slots=True)
class Increase:
    """By how much counters have grown since the gate began to look."""

    value: float = 0.0
    per: float | None = None

    def __add__(self, other: "Increase") -> "Increase":
        """Put two places together."""
        sizes = [one for one in (self.per, other.per) if one is not None]
        return Increase(self.value + other.value, sum(sizes) if sizes else None)

    @property
    def rate(self) -> float | None:
        """The figure that is judged; None while there is nothing to divide by."""
        if self.per is None:
            return self.value
        return self.value / self.per if self.per else None


@dataclass(frozen=True, slots=True)
class Watched:
    """What a gate has seen of the servers with the new version, and of the others."""

    canary: Increase
    others: Increase | None  # None: there are none
    waited_s: float
    places: Mapping[str, Increase] = field(default_factory=dict)


def reading(gate: Metrics, samples: Iterable[Sample], models: Iterable[str]) -> Reading:
    """Add up the samples of a gate's series; a series that is not there yet stands at zero."""
    listed, names = list(samples), tuple(models)
    per = None if gate.per is None else _sum(gate.per, listed, names)
    return Reading(_sum(gate.series, listed, names), per)


def _sum(series: Series, samples: Iterable[Sample], models: tuple[str, ...]) -> float:
    return sum(one.value for one in samples if _matches(series, one, models))


def _matches(series: Series, sample: Sample, models: tuple[str, ...]) -> bool:
    if sample.name != series.name:
        return False
    return all(_fits(sample.labels.get(k, ""), want, models) for k, want in series.labels.items())


def _fits(value: str, want: str, models: tuple[str, ...]) -> bool:
    if want == "{model}":
        return value in models
    return value != want[1:] if want.startswith("!") else value == want


def increase(first: Reading, last: Reading) -> Increase:
    """Return the growth between two readings; a counter that fell began again at zero."""
    per = None
    if last.per is not None:
        per = _grown(first.per or 0.0, last.per)
    return Increase(_grown(first.value, last.value), per)


def _grown(first: float, last: float) -> float:
    return last - first if last >= first else last


def rule(gate: Metrics, seen: Watched) -> Verdict:
    """Rule on what was seen; it is held until there is enough of it."""
    evidence = _evidence(seen)
    if gate.canary_ratio is not None and seen.others is None:
        text = "there are no servers without the new version to compare with"
        return Verdict(Ruling.FAIL, text, evidence)
    sides = [one for one in (seen.canary, seen.others) if one is not None]
    if any(one.per is not None and one.per < gate.min_samples for one in sides):
        return Verdict(Ruling.HOLD, f"waiting for {gate.min_samples} samples", evidence)
    value = seen.canary.rate
    if seen.waited_s < gate.window_s or value is None:
        return Verdict(Ruling.HOLD, f"watching for {gate.window_s:g} s", evidence)
    wrong = [*_beyond(gate, value), *_apart(gate, value, seen.others)]
    if wrong:
        return Verdict(Ruling.FAIL, f"{gate.series.name} {'; '.join(wrong)}", evidence)
    return Verdict(Ruling.PASS, f"{gate.series.name} is {value:.4g}", evidence)


def _beyond(gate: Metrics, value: float) -> Iterable[str]:
    if gate.at_most is not None and value > gate.at_most:
        yield f"is {value:.4g} (at most {gate.at_most:g})"
    if gate.at_least is not None and value < gate.at_least:
        yield f"is {value:.4g} (at least {gate.at_least:g})"


def _apart(gate: Metrics, value: float, others: Increase | None) -> Iterable[str]:
    base = others.rate if others else None
    if gate.canary_ratio is None or base is None:
        return
    ratio = value / base if base else (_ENDLESS if value > 0 else 1.0)
    if ratio > gate.canary_ratio:
        text = f"is {value:.4g} with the new version, {base:.4g} elsewhere"
        yield f"{text}: {ratio:.3g} times (at most {gate.canary_ratio:g})"


def _evidence(seen: Watched) -> dict[str, Any]:
    return {
        "waited_s": round(seen.waited_s, 1),
        "new_version": _numbers(seen.canary),
        "others": None if seen.others is None else _numbers(seen.others),
        "places": {name: _numbers(one) for name, one in seen.places.items()},
    }


def _numbers(one: Increase) -> dict[str, float | None]:
    return {"increase": one.value, "per": one.per, "value": one.rate}
