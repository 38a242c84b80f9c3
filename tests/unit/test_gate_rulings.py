from datetime import UTC, datetime, timedelta

import pytest

from control_plane.domain import calendar, probing
from control_plane.domain.freeze import Once
from control_plane.domain.gate import Freeze, Probe, Ruling, Schedule
from control_plane.domain.probing import Probed

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST = {"server": "a", "asked": "m label stable", "error": "INTERNAL: no"}


@pytest.mark.parametrize(
    ("gate", "seen", "ruling", "told"),
    [
        (Probe(10), Probed(requests=9), Ruling.HOLD, "waiting for 10 predictions"),
        (Probe(10), Probed(refused=9, last_refusal="INVALID_ARGUMENT: x"), Ruling.HOLD, "warm-up"),
        (
            Probe(10),
            Probed(requests=10, worst_ms=41.0, unreachable=3),
            Ruling.PASS,
            "10 predictions, 0 failed, worst 41.0 ms",
        ),
        (
            Probe(10),
            Probed(requests=1, failures=1, first_failure=FIRST),
            Ruling.FAIL,
            "the first on a (m label stable): INTERNAL: no",
        ),
        (Probe(10, max_failures=1), Probed(requests=10, failures=1), Ruling.PASS, "1 failed"),
        (Probe(1, p99_ms=5), Probed(requests=1, p99_ms=6), Ruling.FAIL, "p99 6.0 ms (at most 5)"),
    ],
)  # fmt: skip
def test_probes_are_judged_when_there_are_enough(
    gate: Probe, seen: Probed, ruling: Ruling, told: str
) -> None:
    verdict = probing.rule(gate, seen)
    assert verdict.ruling is ruling
    assert told in verdict.sentence
    assert verdict.evidence["requests"] == seen.requests


def test_a_freeze_holds_while_it_lasts_unless_the_glass_is_broken() -> None:
    windows = (Once(NOW - HOUR, NOW + HOUR, reason="inventory"),)
    during = calendar.frozen(Freeze(windows), "eu", ["m"], NOW)
    assert (during.ruling, during.sentence) == (
        Ruling.HOLD,
        "frozen until 2030-01-01T01:00:00+00:00 (inventory)",
    )
    assert calendar.frozen(Freeze(windows), "eu", ["m"], NOW + HOUR).ruling is Ruling.PASS
    broken = calendar.frozen(Freeze(windows, "prod is down"), "eu", ["m"], NOW)
    assert broken.ruling is Ruling.PASS
    assert broken.evidence["break_glass"] == "prod is down"


def test_a_schedule_holds_until_its_time() -> None:
    assert calendar.scheduled(Schedule(NOW), NOW - HOUR).ruling is Ruling.HOLD
    assert calendar.scheduled(Schedule(NOW), NOW).ruling is Ruling.PASS
