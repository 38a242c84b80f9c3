"""What the process counts beside HTTP: pushes, observations, rollouts, and how late its loop is.

Model servers are counted where they are called, rollouts where they are written, in the journal; so
nothing that decides has to know that it is being counted.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from control_plane.domain.errors import ControlPlaneError, Transient
from control_plane.domain.events import EventKind
from control_plane.domain.rollout import Phase
from control_plane.domain.state import LabelAnswer, ReloadAnswer, VersionStatus
from control_plane.services import history
from control_plane.serving.client import GrpcModelServer
from control_plane.store.database import Database

T = TypeVar("T")
LAG_S: Final = 0.5  # how often the loop's lag is measured
JOURNAL_S: Final = 2.0
_BATCH: Final = 200
# Prometheus sees no increase in a series that begins with 1, so the first of each counts from 0.
_PUSH_CODES: Final = (
    "OK",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
)
_PUSH_BUCKETS: Final = (0.005, 0.01, 0.05, 0.25, 1, 5, 30, 120, 600)
_CALL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2, 10)
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """The counters of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pushes = Counter(
            "tfsctl_pushes",
            "Configs sent to model servers, by what the call returned.",
            ("code",),
            registry=registry,
        )
        for code in _PUSH_CODES:
            self.pushes.labels(code)
        self.push_seconds = Histogram(
            "tfsctl_push_seconds",
            "Time that a model server took to answer a config.",
            registry=registry,
            buckets=_PUSH_BUCKETS,
        )
        self.observations = Counter(
            "tfsctl_observations",
            "Looks at model servers, by kind and by whether they were answered.",
            ("call", "outcome"),
            registry=registry,
        )
        self.observation_seconds = Histogram(
            "tfsctl_observation_seconds",
            "Time that a look at a model server took.",
            ("call",),
            registry=registry,
            buckets=_CALL_BUCKETS,
        )
        self._of_the_loop(registry)

    @cache  # noqa: B019 - there is one of this class for each process
    def of_call(self, call: str, outcome: str) -> tuple[Counter, Histogram]:
        """Return what counts looks of a kind that ended so, and what times them."""
        return self.observations.labels(call, outcome), self.observation_seconds.labels(call)

    def _of_the_loop(self, registry: CollectorRegistry) -> None:
        self.rollouts_started = Counter(
            "tfsctl_rollouts_started", "Rollouts that began.", registry=registry
        )
        self.rollouts_ended = Counter(
            "tfsctl_rollouts_ended", "Rollouts that ended, by how.", ("phase",), registry=registry
        )
        for phase in (one for one in Phase if not one.live):
            self.rollouts_ended.labels(phase.value)
        self.fleets_led = Gauge(
            "tfsctl_fleets_led",
            "Fleets that this process reconciles; over all replicas, as many as there are.",
            registry=registry,
        )
        self.loop_lag = Histogram(
            "tfsctl_loop_lag_seconds",
            "How much later than asked the event loop ran something.",
            registry=registry,
            buckets=_LAG_BUCKETS,
        )

    async def measure_lag(self) -> None:
        """Measure the loop's lag until cancelled."""
        while True:
            asked = time.monotonic()
            await asyncio.sleep(LAG_S)
            self.loop_lag.observe(max(0.0, time.monotonic() - asked - LAG_S))

    async def count_rollouts(self, db: Database) -> None:
        """Count what the journal tells of rollouts from now on, until cancelled."""
        after: int | None = None
        while True:
            with suppress(Transient):
                if after is None:
                    after = (await history.resume(db, "")).last
                after = await self._count_after(db, after)
            await asyncio.sleep(JOURNAL_S)

    async def _count_after(self, db: Database, after: int) -> int:
        while found := await history.events(db, after, _BATCH):
            after = found[-1].seq
            for event in found:
                if event.kind is EventKind.ROLLOUT_STARTED:
                    self.rollouts_started.inc()
                elif event.kind is EventKind.ROLLOUT_ENDED:
                    self.rollouts_ended.labels(str(event.data.get("phase", ""))).inc()
        return after


class CountedServer(GrpcModelServer):
    """A model server whose calls by the loop are counted."""

    def __init__(self, metrics: Metrics, address: str) -> None:
        super().__init__(address)
        self._metrics = metrics

    async def status(self, model: str, *, timeout_s: float) -> Mapping[int, VersionStatus]:
        """Return the state of each version that the server knows; empty if it knows none."""
        return await self._counted("status", super().status(model, timeout_s=timeout_s))

    async def label(self, model: str, label: str, *, timeout_s: float) -> LabelAnswer:
        """Ask where a label points."""
        return await self._counted("label", super().label(model, label, timeout_s=timeout_s))

    async def reload(self, *config: Any, timeout_s: float) -> ReloadAnswer:
        """Send the whole config."""
        started = time.perf_counter()
        answer = await super().reload(*config, timeout_s=timeout_s)
        self._metrics.push_seconds.observe(time.perf_counter() - started)
        self._metrics.pushes.labels(answer.code).inc()
        return answer

    async def _counted(self, call: str, answer: Awaitable[T]) -> T:
        started, outcome = time.perf_counter(), "unanswered"
        try:
            found = await answer
            outcome = "answered"
        except ControlPlaneError as error:
            outcome = error.code
            raise
        finally:
            counted, timed = self._metrics.of_call(call, outcome)
            counted.inc()
            timed.observe(time.perf_counter() - started)
        return found
