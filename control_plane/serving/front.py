"""One look at a server's REST port: its metrics page, which no server counts as a request.

It tells whether the port answers, whether metrics are on, and the server's clock.
"""

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

from control_plane.domain.errors import Transient
from control_plane.domain.finding import Front
from control_plane.serving.scrape import Page, fetch, samples

METRICS = "/monitoring/prometheus/metrics"
_MOST_TEXT = 200


async def look(rest_address: str, clock: Callable[[], datetime], timeout_s: float) -> Front:
    """Look once; what goes wrong is part of what was seen."""
    began, at = time.monotonic(), clock()
    try:
        page = await fetch(f"http://{rest_address}{METRICS}", timeout_s)
    except Transient as error:
        return Front(answers=False, text=error.message)
    took_s = time.monotonic() - began
    text = page.content.decode(errors="replace")
    return Front(
        answers=True,
        text=f"it answers {page.status} {text[:_MOST_TEXT].strip()}".strip(),
        metrics=page.good and next(samples(text), None) is not None,
        skew_s=_skew_s(page, at.timestamp() + took_s / 2),
        round_trip_s=took_s,
    )


def _skew_s(page: Page, ours: float) -> float | None:
    """Its clock minus ours; a date has whole seconds, so half of one is added."""
    try:
        return parsedate_to_datetime(page.date).timestamp() + 0.5 - ours
    except ValueError:
        return None
