"""Gates: conditions that must pass before a rollout's next step, and what they ruled.

`parse_gate` is the only reader of a gate's document; what it returns is valid.
"""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeAlias

from control_plane.domain.freeze import Window, parse_windows
from control_plane.domain.gate_fields import Fields
from control_plane.domain.request_set import MOST_RECORDS, SET_NAME_PATTERN

MONITORING_PATH: Final = "/monitoring/prometheus/metrics"  # where servers are not told otherwise
_LARGE: Final = 1e30
_SET_NAME = re.compile(SET_NAME_PATTERN.replace("$", r"\Z"))
_TOLERANCE = ("max_abs", "max_rel", "top1_agreement", "nan", "latency_ratio", "errors")


class Ruling(enum.StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - a verdict
    HOLD = "hold"  # not yet: asked again until the rollout's deadline
    FAIL = "fail"  # the rollout ends: failed before labels moved, rolled back after


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's ruling with what it rests on; kept on the step."""

    ruling: Ruling
    sentence: str  # the same words while the situation is the same
    evidence: Mapping[str, Any] = field(default_factory=dict)  # JSON


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a new version's answers may be from the current one's.

    `max_abs` and `max_rel` limit each element of float outputs; `top1_agreement` is the least
    part of rows with the same largest element, and of equal elements in strings and integers,
    which must all be equal where it is not given.
    """

    max_abs: float | None = None
    max_rel: float | None = None  # of the larger magnitude, so from 0 to 2
    top1_agreement: float | None = None
    nan: bool = False  # NaN or Inf may appear where the current version has a number
    latency_ratio: float | None = None  # of the p95
    errors: int = 0  # records that the new version alone may fail


_ALIKE: Final = 1e-3  # the `max_abs` where none of the three limits is given


@dataclass(frozen=True, slots=True)
class Replay:
    """Recorded requests, answered alike by the current and by the new version."""

    records: int = MOST_RECORDS
    tolerance: Tolerance = Tolerance(max_abs=_ALIKE)
    models: Mapping[str, Tolerance] = field(default_factory=dict)  # where a model has its own
    request_set: str = ""  # "": the model's newest, else the new or the current warm-up file
    required: bool = True  # whether it fails where there are no requests


@dataclass(frozen=True, slots=True)
class Probe:
    """Predictions through every server for as long as the rollout runs."""

    min_requests: int = 100
    max_failures: int = 0
    p99_ms: float | None = None
    per_s: float = 5.0  # per server


@dataclass(frozen=True, slots=True)
class Series:
    """The sum of the samples of one name that have these labels; `!x` is any value but x."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metrics:
    """The increase of a series, or of one for each of another, within limits."""

    source: str  # a URL, or "servers": every server's own monitoring path
    series: Series
    per: Series | None = None  # what the increase is divided by, and what samples are counted of
    at_most: float | None = None
    at_least: float | None = None
    canary_ratio: float | None = None  # servers with the new version to the others, at most
    min_samples: int = 0  # of `per`
    window_s: float = 60.0
    path: str = MONITORING_PATH  # on a server's REST address
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Http:
    """A URL that answers a verdict."""

    url: str
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Freeze:
    """Times in which nothing goes on."""

    windows: tuple[Window, ...]
    break_glass: str = ""  # why this rollout goes on all the same


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time before which nothing goes on."""

    at: datetime


Gate: TypeAlias = Replay | Probe | Metrics | Http | Freeze | Schedule


def check_gate(path: str, document: Any) -> None:
    """Check a gate's document.

    Raises:
        FieldInvalid: with the path of what is wrong, as `steps[3].gate.tolerance.max_abs`.
    """
    parse_gate(path, document)


def parse_gate(path: str, document: Any) -> Gate:
    """Return the gate that a document describes.

    Raises:
        FieldInvalid: with the path of what is wrong.
    """
    fields = Fields.of(path, document, document if isinstance(document, Mapping) else ())
    kind = fields.text("kind")
    if kind not in _KINDS:
        raise fields.wrong("kind", f"{kind!r} is no kind of gate", hint=f"one of {_NAMES}")
    known, parse = _KINDS[kind]
    return parse(Fields.of(path, document, ("kind", "name", *known)))


def _replay(fields: Fields) -> Replay:
    models = fields.document.get("models")
    named = fields.within("models", models if isinstance(models, Mapping) else ())
    return Replay(
        records=fields.whole("records", MOST_RECORDS, 1, MOST_RECORDS),
        tolerance=_tolerance(fields.within("tolerance", _TOLERANCE)),
        models={one: _tolerance(named.within(one, _TOLERANCE)) for one in named.document},
        request_set=_request_set(fields),
        required=fields.flag("required", default=True),
    )


def _request_set(fields: Fields) -> str:
    name = fields.text("request_set", "")
    if name and not _SET_NAME.match(name):
        raise fields.wrong("request_set", "must be a name of a-z, 0-9 and . _ -")
    return name


def _tolerance(fields: Fields) -> Tolerance:
    given = Tolerance(
        max_abs=fields.number("max_abs", 0, _LARGE),
        max_rel=fields.number("max_rel", 0, 2),
        top1_agreement=fields.number("top1_agreement", 0, 1),
        nan=fields.flag("nan"),
        latency_ratio=fields.number("latency_ratio", 0.01, 1000),
        errors=fields.whole("errors", 0, 0, MOST_RECORDS),
    )
    limits = (given.max_abs, given.max_rel, given.top1_agreement)
    return given if any(one is not None for one in limits) else replace(given, max_abs=_ALIKE)


def _probe(fields: Fields) -> Probe:
    return Probe(
        min_requests=fields.whole("min_requests", 100, 1, 1_000_000),
        max_failures=fields.whole("max_failures", 0, 0, 1_000_000),
        p99_ms=fields.number("p99_ms", 0.001, 600_000),
        per_s=fields.number("per_s", 0.1, 50) or 5.0,
    )


def _metrics(fields: Fields) -> Metrics:
    source = fields.text("source", "servers")
    found = Metrics(
        source=source if source == "servers" else fields.url("source"),
        series=_series(fields.within("series", ("name", "labels"))),
        per=_series(fields.within("per", ("name", "labels"))) if fields.has("per") else None,
        at_most=fields.number("at_most", -_LARGE, _LARGE),
        at_least=fields.number("at_least", -_LARGE, _LARGE),
        canary_ratio=fields.number("canary_ratio", 0, 1_000),
        min_samples=fields.whole("min_samples", int(fields.has("per")), 0, 1_000_000_000),
        window_s=_or(fields.number("window_s", 0, 86_400), 60.0),
        path=fields.text("path", MONITORING_PATH),
        timeout_s=_or(fields.number("timeout_s", 0.1, 60), 5.0),
    )
    limits = (found.at_most, found.at_least, found.canary_ratio)
    if all(one is None for one in limits):
        raise fields.wrong("at_most", "is missing", hint="or give at_least or canary_ratio")
    if found.canary_ratio is not None and source != "servers":
        text = "compares servers with each other"
        raise fields.wrong("canary_ratio", text, hint='source must be "servers"')
    if found.min_samples and found.per is None:
        raise fields.wrong("min_samples", "are counted of per, which is missing")
    if not found.path.startswith("/"):
        raise fields.wrong("path", "must begin with /")
    return found


def _series(fields: Fields) -> Series:
    labels = fields.document.get("labels")
    named = fields.within("labels", labels if isinstance(labels, Mapping) else ())
    return Series(fields.text("name"), {one: named.text(one) for one in named.document})


def _http(fields: Fields) -> Http:
    return Http(fields.url("url"), _or(fields.number("timeout_s", 0.1, 60), 10.0))


def _freeze(fields: Fields) -> Freeze:
    return Freeze(parse_windows(fields), fields.text("break_glass", ""))


def _schedule(fields: Fields) -> Schedule:
    return Schedule(fields.moment("at"))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


_METRICS: Final = (
    "source", "series", "per", "at_most", "at_least", "canary_ratio", "min_samples",
    "window_s", "path", "timeout_s",
)  # fmt: skip
_Parse: TypeAlias = Callable[[Fields], Gate]
_KINDS: Final[Mapping[str, tuple[tuple[str, ...], _Parse]]] = {
    "replay": (("records", "tolerance", "models", "request_set", "required"), _replay),
    "probe": (("min_requests", "max_failures", "p99_ms", "per_s"), _probe),
    "metrics": (_METRICS, _metrics),
    "http": (("url", "timeout_s"), _http),
    "freeze": (("windows", "break_glass"), _freeze),
    "schedule": (("at",), _schedule),
}
_NAMES: Final = ", ".join(sorted(_KINDS))
