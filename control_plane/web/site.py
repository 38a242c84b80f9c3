"""What the dashboard is made of: services and the means to use them, handed over by bootstrap."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from control_plane.domain.errors import ControlPlaneError
from control_plane.services.access import Access
from control_plane.services.feed import Feed
from control_plane.services.predict import Predictor
from control_plane.services.resolve import Resolved
from control_plane.store.database import Database


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that pages use; the API has the same ones."""

    db: Database
    access: Access
    feed: Feed
    resolved: Resolved
    predictor: Predictor
    auth_required: bool
    clock: Callable[[], datetime]  # aware UTC
    new_id: Callable[[], str]
    new_secret: Callable[[], str]
    version: str
    nudge: Callable[[str], None]  # have the loop look at a fleet
    latency_ms: Callable[[str, str], float | None]  # of a server by fleet and name, where known
    status_of: Callable[[type[ControlPlaneError]], int]  # the HTTP status of an error
    streams: set[object]  # those open now, the API's too
    most_streams: int
    predict_timeout_s: float
