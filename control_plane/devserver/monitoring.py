"""The series that a model server counts, and the page on which Prometheus reads them.

Names, labels, buckets and the rounding of sums to six digits are the real server's. Of a request
no series knows the version, and only one that succeeded has a latency.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from control_plane.devserver import wire
from control_plane.devserver.refusal import Code, Refusal

DEFAULT_PATH = "/monitoring/prometheus/metrics"
_LIMITS_US = tuple(accumulate(range(32), lambda limit, _: limit * 1.8, initial=10.0))
_MICROSECONDS = 1e6
_SUCCESS, _FAIL = "success", "fail"

Labels = tuple[str, ...]


class Counter:
    """Whole numbers that only grow, by label values."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self._labels = labels
        self._cells: dict[Labels, int] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, by: int = 1) -> None:
        """Count."""
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + by

    def lines(self) -> Iterator[str]:
        """Write the series in the text format of Prometheus."""
        name = _exported(self.name)
        yield f"# TYPE {name} counter"
        with self._lock:
            cells = sorted(self._cells.items())
        for values, number in cells:
            yield f"{name}{{{_pairs(self._labels, values)}}} {number}"


@dataclass(slots=True)
class _Spread:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_LIMITS_US) + 1))
    total_us: float = 0.0


class Histogram:
    """How long things took, by label values."""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = name
        self._labels = labels
        self._cells: dict[Labels, _Spread] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, seconds: float) -> None:
        """Count one more, in whole microseconds."""
        took_us = int(seconds * _MICROSECONDS)
        with self._lock:
            cell = self._cells.get(values)
            if cell is None:
                cell = self._cells[values] = _Spread()
            cell.buckets[bisect_right(_LIMITS_US, took_us)] += 1
            cell.total_us += took_us

    def lines(self) -> Iterator[str]:
        """Write the series in the text format of Prometheus."""
        name = _exported(self.name)
        yield f"# TYPE {name} histogram"
        with self._lock:
            cells = [(v, [*c.buckets], c.total_us) for v, c in sorted(self._cells.items())]
        for values, buckets, total_us in cells:
            labels = _pairs(self._labels, values)
            below = list(accumulate(buckets))
            for limit, count in zip((*map(_number, _LIMITS_US), "+Inf"), below, strict=True):
                yield f'{name}_bucket{{{labels},le="{limit}"}} {count}'
            yield f"{name}_sum{{{labels}}} {_number(total_us)}"
            yield f"{name}_count{{{labels}}} {below[-1]}"


class Metrics:
    """Everything that is counted in one server process."""

    def __init__(self) -> None:
        self._requests = Counter("/tensorflow/serving/request_count", "model_name", "status")
        self._request_latency = Histogram(
            "/tensorflow/serving/request_latency", "model_name", "API", "entrypoint"
        )
        self._runtime_latency = Histogram(
            "/tensorflow/serving/runtime_latency", "model_name", "API", "runtime"
        )
        self._warm_up_latency = Histogram(
            "/tensorflow/serving/model_warmup_latency", "model_path", "status"
        )
        self._loads = Counter(
            "/tensorflow/cc/saved_model/load_attempt_count", "model_path", "status"
        )
        self._load_latency = Counter("/tensorflow/cc/saved_model/load_latency", "model_path")

    @contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request, whatever name it asks for, and time it if it succeeds."""
        began = time.monotonic()
        try:
            yield
        except Refusal as refusal:
            self._requests.add(model, refusal.code.name)
            raise
        self._request_latency.add(model, api, entrypoint, seconds=time.monotonic() - began)
        self._requests.add(model, Code.OK.name)

    @contextmanager
    def running(self, model: str) -> Iterator[None]:
        """Time a computation if it succeeds."""
        began = time.monotonic()
        yield
        self._runtime_latency.add(model, "Predict", "TF1", seconds=time.monotonic() - began)

    @contextmanager
    def load(self, path: str) -> Iterator[None]:
        """Count an attempt to load, and add up how long attempts took, failed ones too."""
        began, status = time.monotonic(), _FAIL
        try:
            yield
            status = _SUCCESS
        finally:
            self._loads.add(path, status)
            took_us = int((time.monotonic() - began) * _MICROSECONDS)
            self._load_latency.add(path, by=took_us)

    @contextmanager
    def warm_up(self, path: str) -> Iterator[None]:
        """Time a replay of warm-up records if it succeeds."""
        began = time.monotonic()
        yield
        self._warm_up_latency.add(path, Code.OK.name, seconds=time.monotonic() - began)

    def page(self) -> str:
        """Write all series, in the order of their names; those without a value have a type."""
        series: list[Counter | Histogram] = list(vars(self).values())
        lines = [line for one in sorted(series, key=lambda one: one.name) for line in one.lines()]
        return "\n".join([*lines, ""])


def read_monitoring_file(path: str) -> str | None:
    """Give the path at which Prometheus reads; None: it may not.

    Raises:
        Refusal: the file is missing, empty, or no MonitoringConfig.
    """
    prometheus = wire.read_text_file(path, _monitoring_config()).prometheus_config
    return (prometheus.path or DEFAULT_PATH) if prometheus.enable else None


def _monitoring_config() -> Any:
    """Make the message that is missing from the published stubs."""
    text, flag, message = (
        getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind}")
        for kind in ("STRING", "BOOL", "MESSAGE")
    )
    file = descriptor_pb2.FileDescriptorProto(
        name="monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=flag)
    prometheus.field.add(name="path", number=2, type=text)
    whole = file.message_type.add(name="MonitoringConfig")
    kind = ".tensorflow.serving.PrometheusConfig"
    whole.field.add(name="prometheus_config", number=1, type=message, type_name=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig")
    return message_factory.GetMessageClass(found)()


def _exported(name: str) -> str:
    """Give a name as Prometheus sees it."""
    return "".join(one if one.isalnum() or one == "_" else ":" for one in name)


def _pairs(labels: Labels, values: Labels) -> str:
    """Write labels; a line break in a value is not escaped, there as here."""
    return ",".join(
        '{}="{}"'.format(label, value.replace("\\", "\\\\").replace('"', '\\"'))
        for label, value in zip(labels, values, strict=True)
    )


def _number(value: float) -> str:
    return f"{value:.6g}"
