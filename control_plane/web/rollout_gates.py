"""Evidence of gates as charts: bars beside each other, with the line that must not be crossed."""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.gate import Metrics, Probe, Replay, Tolerance, parse_gate

Json = Mapping[str, Any]
_ROOM: Final = 1.12  # beyond the longest bar


def charts(spec: Json, evidence: Json) -> list[dict[str, Any]]:
    """Return the charts of a gate's evidence; none where it has no numbers.

    A chart has `title` (a key of texts), `about`, `limit` with `at_least`, and `bars` with `name`,
    `value`, `width`, `good` and whether it is `limited`; `width` and `limit_at` are in percent.
    """
    try:
        gate = parse_gate("gate", spec)
    except FieldInvalid:  # of another release
        return []
    match gate:
        case Replay():
            return [_drawn(one) for one in _replays(gate, evidence) if one["bars"]]
        case Probe():
            return [_drawn(one) for one in _probes(gate, evidence) if one["bars"]]
        case Metrics():
            return [_drawn(one) for one in _measures(gate, evidence) if one["bars"]]
        case _:
            return []


def _replays(gate: Replay, evidence: Json) -> Iterator[dict[str, Any]]:
    for model, one in evidence.get("models", {}).items():
        limits = gate.models.get(model, gate.tolerance)
        outputs = one.get("outputs", {})
        for title, field, limit in _limits(limits):
            values = {name: each.get(field) for name, each in outputs.items()}
            yield _chart(title, model, values, limit, at_least=field == "agreement")
        yield _latencies(model, one.get("latency_ms", {}), limits)


def _limits(limits: Tolerance) -> Iterator[tuple[str, str, float | None]]:
    yield "max_abs", "max_abs", limits.max_abs
    if limits.max_rel is not None:
        yield "max_rel", "max_rel", limits.max_rel
    if limits.top1_agreement is not None:
        yield "agreement", "agreement", limits.top1_agreement


def _latencies(model: str, told: Json, limits: Tolerance) -> dict[str, Any]:
    values = {
        f"{side} {part}": numbers.get(part)
        for part in ("p50", "p95", "p99")
        for side, numbers in told.items()
    }
    current = told.get("current", {}).get("p95")
    ratio = limits.latency_ratio
    limit = current * ratio if ratio is not None and current else None
    return _only("new p95", _chart("latency", model, values, limit))


def _probes(gate: Probe, evidence: Json) -> Iterator[dict[str, Any]]:
    times = {"p99": evidence.get("p99_ms"), "worst": evidence.get("worst_ms")}
    yield _only("p99", _chart("latency", "", times, gate.p99_ms))
    yield _chart("failures", "", {"": evidence.get("failures")}, gate.max_failures)
    yield _chart("predictions", "", evidence.get("servers", {}), None)


def _measures(gate: Metrics, evidence: Json) -> Iterator[dict[str, Any]]:
    sides = {name: evidence.get(name) or {} for name in ("new_version", "others")}
    values = {name: one.get("value") for name, one in sides.items()}
    at_least = gate.at_most is None and gate.at_least is not None
    limit = gate.at_least if at_least else gate.at_most
    yield _chart("series", gate.series.name, values, limit, at_least=at_least)
    places = {name: one.get("value") for name, one in evidence.get("places", {}).items()}
    yield _chart("places", gate.series.name, places, None)


def _chart(
    title: str, about: str, values: Json, limit: float | None, *, at_least: bool = False
) -> dict[str, Any]:
    bars = [_bar(name, value, limit, at_least) for name, value in _numbers(values)]
    return {"title": title, "about": about, "limit": limit, "at_least": at_least, "bars": bars}


def _only(name: str, chart: dict[str, Any]) -> dict[str, Any]:
    """Hold one bar of a chart to its limit, and no other."""
    for bar in chart["bars"]:
        bar["limited"] = bar["limited"] and bar["name"] == name
        bar["good"] = bar["good"] or not bar["limited"]
    return chart


def _numbers(values: Json) -> Iterable[tuple[str, float]]:
    for name, value in values.items():
        if value == "Infinity":
            yield name, inf
        elif isinstance(value, int | float):
            yield name, float(value)


def _bar(name: str, value: float, limit: float | None, at_least: bool) -> dict[str, Any]:
    good = limit is None or (value >= limit if at_least else value <= limit)
    return {"name": name, "value": value, "good": good, "limited": limit is not None}


def _drawn(chart: dict[str, Any]) -> dict[str, Any]:
    """Give every bar its width, and the limit its place."""
    limit = chart["limit"]
    shown = [abs(one["value"]) for one in chart["bars"] if one["value"] != inf]
    most = max([*shown, abs(limit or 0.0)]) * _ROOM or 1.0
    for one in chart["bars"]:
        one["width"] = round(min(100.0, 100 * abs(one["value"]) / most), 2)
    chart["limit_at"] = None if limit is None else round(100 * abs(limit) / most, 2)
    return chart
