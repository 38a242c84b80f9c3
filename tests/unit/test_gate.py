from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.freeze import Once, Scope, Weekly, frozen_by, told
from control_plane.domain.gate import (
    Freeze,
    Http,
    Metrics,
    Probe,
    Replay,
    Schedule,
    Series,
    Tolerance,
    check_gate,
    parse_gate,
)

PATH = "steps[3].gate"
COUNT: dict[str, Any] = {"name": ":tensorflow:serving:request_count", "labels": {"status": "!OK"}}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("document", "gate"),
    [
        ({"kind": "replay"}, Replay(1000, Tolerance(max_abs=1e-3))),
        (
            {"kind": "replay", "records": 5, "tolerance": {"top1_agreement": 0.9, "errors": 2}},
            Replay(5, Tolerance(top1_agreement=0.9, errors=2)),
        ),
        (
            {"kind": "replay", "request_set": "golden", "models": {"ranker": {"max_rel": 0.1}}},
            Replay(models={"ranker": Tolerance(max_rel=0.1)}, request_set="golden"),
        ),
        ({"kind": "replay", "required": False}, Replay(required=False)),
        ({"kind": "probe", "p99_ms": 50}, Probe(p99_ms=50.0)),
        ({"kind": "http", "url": "https://judge/x"}, Http("https://judge/x")),
        (
            {"kind": "metrics", "series": COUNT, "at_most": 0, "window_s": 0},
            Metrics(
                "servers", Series(COUNT["name"], {"status": "!OK"}), at_most=0.0, window_s=0.0
            ),
        ),
        ({"kind": "schedule", "at": "2030-01-01T00:00:00Z"}, Schedule(at("2030-01-01"))),
        (
            {"kind": "schedule", "at": "2030-01-01T02:00:00+02:00"},
            Schedule(at("2030-01-01")),
        ),
        (
            {"kind": "freeze", "windows": [{"days": ["fri"], "from": "17:00", "to": "09:00"}]},
            Freeze((Weekly(frozenset({4}), time(17), time(9)),)),
        ),
    ],
)  # fmt: skip
def test_a_document_becomes_a_gate(document: dict[str, Any], gate: object) -> None:
    assert parse_gate(PATH, document) == gate


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], ""),
        ({}, ".kind"),
        ({"kind": "vibes"}, ".kind"),
        ({"kind": 3}, ".kind"),
        ({"kind": "replay", "recods": 3}, ".recods"),
        ({"kind": "replay", "records": 1001}, ".records"),
        ({"kind": "replay", "records": 0}, ".records"),
        ({"kind": "replay", "records": True}, ".records"),
        ({"kind": "replay", "tolerance": {"max_abs": -1}}, ".tolerance.max_abs"),
        ({"kind": "replay", "tolerance": {"max_abs": float("nan")}}, ".tolerance.max_abs"),
        ({"kind": "replay", "tolerance": {"max_abs": float("inf")}}, ".tolerance.max_abs"),
        ({"kind": "replay", "tolerance": {"max_rel": 2.1}}, ".tolerance.max_rel"),
        ({"kind": "replay", "tolerance": {"top1_agreement": 1.1}}, ".tolerance.top1_agreement"),
        ({"kind": "replay", "tolerance": {"nan": "no"}}, ".tolerance.nan"),
        ({"kind": "replay", "tolerance": {"latency_ratio": 0}}, ".tolerance.latency_ratio"),
        ({"kind": "replay", "tolerance": 3}, ".tolerance"),
        ({"kind": "replay", "models": {"m": {"max_abs": "x"}}}, ".models.m.max_abs"),
        ({"kind": "replay", "models": 3}, ".models"),
        ({"kind": "replay", "request_set": "../etc"}, ".request_set"),
        ({"kind": "replay", "required": "no"}, ".required"),
        ({"kind": "probe", "min_requests": 0}, ".min_requests"),
        ({"kind": "probe", "per_s": 1000}, ".per_s"),
        ({"kind": "http"}, ".url"),
        ({"kind": "http", "url": "file:///etc/passwd"}, ".url"),
        ({"kind": "http", "url": "http://x", "timeout_s": 1e9}, ".timeout_s"),
        ({"kind": "metrics", "series": COUNT}, ".at_most"),
        ({"kind": "metrics", "at_most": 1}, ".series.name"),
        ({"kind": "metrics", "series": {"name": "x", "labels": {"a": 1}}}, ".series.labels.a"),
        (
            {"kind": "metrics", "source": "http://x", "series": COUNT, "canary_ratio": 1},
            ".canary_ratio",
        ),
        ({"kind": "metrics", "source": "ftp://x", "series": COUNT, "at_most": 1}, ".source"),
        ({"kind": "metrics", "series": COUNT, "at_most": 1, "path": "x"}, ".path"),
        ({"kind": "schedule", "at": "tomorrow"}, ".at"),
        ({"kind": "schedule", "at": "2030-01-01T00:00:00"}, ".at"),
        ({"kind": "schedule", "at": "0001-01-01T00:00:00+10:00"}, ".at"),
        ({"kind": "freeze"}, ".windows"),
        ({"kind": "freeze", "windows": []}, ".windows"),
        ({"kind": "freeze", "windows": [3]}, ".windows[0]"),
        ({"kind": "freeze", "windows": [{"from": "17:00"}]}, ".windows[0].from"),
        (
            {"kind": "freeze", "windows": [{"from": "2030-01-02T00Z", "to": "2030-01-01T00Z"}]},
            ".windows[0].to",
        ),
        (
            {"kind": "freeze", "windows": [{"days": ["xmas"], "from": "17:00", "to": "18:00"}]},
            ".windows[0].days",
        ),
        (
            {"kind": "freeze", "windows": [{"days": ["fri"], "from": "25:00", "to": "18:00"}]},
            ".windows[0].from",
        ),
        (
            {
                "kind": "freeze",
                "windows": [
                    {"days": ["fri"], "from": "17:00", "to": "18:00", "timezone": "Mars/Olympus"}
                ],
            },
            ".windows[0].timezone",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_path(document: Any, field: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check_gate(PATH, document)
    assert refused.value.field == f"{PATH}{field}"


CHRISTMAS = Once(at("2030-12-24"), at("2030-12-27"), Scope(("eu-*",), ("ranker",)), "nobody is in")
WEEKEND = Weekly(frozenset({4, 5}), time(17), time(9))


@pytest.mark.parametrize(
    ("window", "fleet", "models", "now", "frozen"),
    [
        (CHRISTMAS, "eu-prod", ["ranker"], "2030-12-24", True),
        (CHRISTMAS, "eu-prod", ["ranker"], "2030-12-27", False),
        (CHRISTMAS, "eu-prod", ["ranker"], "2030-12-23T23:59:59", False),
        (CHRISTMAS, "eu-prod", ["other", "ranker"], "2030-12-25", True),
        (CHRISTMAS, "eu-prod", ["other"], "2030-12-25", False),
        (CHRISTMAS, "us-prod", ["ranker"], "2030-12-25", False),
        (WEEKEND, "any", ["m"], "2026-01-02T16:59", False),  # a Friday
        (WEEKEND, "any", ["m"], "2026-01-02T17:00", True),
        (WEEKEND, "any", ["m"], "2026-01-03T08:59", True),
        (WEEKEND, "any", ["m"], "2026-01-03T12:00", False),
        (WEEKEND, "any", ["m"], "2026-01-04T08:00", True),  # begun on Saturday
        (WEEKEND, "any", ["m"], "2026-01-04T17:30", False),
        (WEEKEND, "any", ["m"], "2026-01-02T03:00", False),
        (Weekly(frozenset({0}), time(0), time(0)), "any", ["m"], "2026-01-05T23:59", True),
        (Weekly(frozenset({0}), time(0), time(0)), "any", ["m"], "2026-01-06T00:00", False),
        (
            Weekly(frozenset({4}), time(17), time(18), ZoneInfo("Asia/Tokyo")),
            "any",
            ["m"],
            "2026-01-02T08:30",
            True,
        ),
    ],
)  # fmt: skip
def test_a_window_holds_whom_it_is_about_while_it_is_open(
    window: Once | Weekly, fleet: str, models: list[str], now: str, *, frozen: bool
) -> None:
    found = frozen_by([window], fleet, models, at(now))
    assert found == (window if frozen else None)


def test_a_window_says_until_when_and_why() -> None:
    assert told(CHRISTMAS) == "frozen until 2030-12-27T00:00:00+00:00 (nobody is in)"
    assert told(WEEKEND) == "frozen until 09:00 UTC"
