"""What the application is made of: everything it uses is handed to it here, once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from control_plane.services.access import Access
from control_plane.services.feed import Feed
from control_plane.services.predict import Predictor
from control_plane.services.resolve import Resolved
from control_plane.serving.client import ModelServer
from control_plane.serving.lookup import Lookup
from control_plane.store.database import Database


class Reconciling(Protocol):
    """The loop, as far as the API knows it."""

    def nudge(self, fleet: str) -> None:
        """Look at this fleet soon. Losing it costs one round of the loop's own timer."""

    def listen(self, call: Callable[[], None]) -> None:
        """Call this whenever the loop has written something."""

    def latency_ms(self, fleet: str, server: str) -> float | None:
        """Return the round trip to a server, smoothed; None where this process does not know it."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Limits and switches of the API; the defaults are for production."""

    docs: bool = False  # the interactive documentation page
    body_bytes: int = 1 << 20
    predict_body_bytes: int = 32 << 20
    predict_timeout_s: float = 30.0
    streams: int = 100  # event streams open at a time
    heartbeat_s: float = 15.0
    wait_s: float = 300.0  # the longest that `Prefer: wait` holds an answer
    shutdown_key: str = ""  # turns `admin:shutdown` on


@dataclass(frozen=True, slots=True)
class AppParts:
    """What `create_app` composes; made by bootstrap, or by a test."""

    db: Database
    auth_required: bool
    reconciler: Reconciling
    connect: Callable[[str], ModelServer]  # by address; for predictions only
    clock: Callable[[], datetime]  # aware UTC
    new_id: Callable[[], str]  # short, unique, lower-case letters and digits
    new_secret: Callable[[], str]  # 43 random characters of URL-safe base64
    registry: CollectorRegistry
    lookup: Lookup = field(default_factory=Lookup)  # for sources before they are stored
    version: str = "0"
    health: Callable[[], Mapping[str, str]] = dict  # by part: "ok…", "degraded…" or a fault
    started: Callable[[], bool] = lambda: True
    turns: Callable[[], bool] = lambda: True  # whether the loop still comes round
    shut_down: Callable[[], None] = lambda: None
    anchored: Callable[[], Iterable[str]] = tuple  # lines: heads of the audit chain
    options: ApiOptions = field(default_factory=ApiOptions)


@dataclass(frozen=True, slots=True)
class Running:
    """The parts together with what lives as long as the application."""

    parts: AppParts
    access: Access
    feed: Feed
    resolved: Resolved
    predictor: Predictor
    streams: set[object] = field(default_factory=set)
