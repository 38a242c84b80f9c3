import pytest

from control_plane.domain.gate import Metrics, Ruling, Series
from control_plane.domain.series import (
    Increase,
    Reading,
    Sample,
    Watched,
    increase,
    reading,
    rule,
)
from control_plane.serving.scrape import samples

COUNT = Series("requests", {"model": "{model}", "status": "!OK"})
ALL = Series("requests", {"model": "{model}"})

TEXT = """\
# TYPE requests counter
requests{model="m",status="OK"} 90
requests{model="m",status="INTERNAL",} 7
requests{model="m",status="a \\"quoted\\" \\\\ one\\n"} 3 1700000000000
requests{model="other",status="INTERNAL"} 50
:tensorflow:serving:latency_bucket{le="+Inf"} 4e2
broken{status="it says "no" to us"} 1
requests
plain 5
nothing NaN
endless +Inf
"""


def test_prometheus_text_is_read_and_what_is_no_sample_is_passed_over() -> None:
    found = list(samples(TEXT))
    assert [one.name for one in found] == ["requests"] * 4 + [
        ":tensorflow:serving:latency_bucket",
        "plain",
    ]
    assert found[2] == Sample("requests", {"model": "m", "status": 'a "quoted" \\ one\n'}, 3.0)
    assert found[4].labels == {"le": "+Inf"}
    assert found[5] == Sample("plain", {}, 5.0)


def test_a_reading_adds_up_what_the_labels_ask_for() -> None:
    gate = Metrics("servers", COUNT, per=ALL, at_most=1.0)
    assert reading(gate, samples(TEXT), ["m"]) == Reading(10.0, 100.0)
    assert reading(gate, samples(TEXT), ["nobody"]) == Reading(0.0, 0.0)


def test_a_counter_that_fell_began_again() -> None:
    assert increase(Reading(10, 100), Reading(12, 300)) == Increase(2, 200)
    assert increase(Reading(10, 100), Reading(3, 5)) == Increase(3, 5)
    assert increase(Reading(10, None), Reading(10, None)) == Increase(0, None)


def watched(canary: Increase, others: Increase | None = None, waited_s: float = 60.0) -> Watched:
    return Watched(canary, others, waited_s)


RATE = Metrics("servers", COUNT, per=ALL, at_most=0.1, min_samples=100)
PLAIN = Metrics("servers", COUNT, at_most=2.0, at_least=1.0)
COHORTS = Metrics("servers", COUNT, per=ALL, canary_ratio=1.5, min_samples=10)


@pytest.mark.parametrize(
    ("gate", "seen", "ruling", "told"),
    [
        (RATE, watched(Increase(1, 99)), Ruling.HOLD, "waiting for 100 samples"),
        (RATE, watched(Increase(1, 100), waited_s=9.0), Ruling.HOLD, "watching for 60 s"),
        (RATE, watched(Increase(10, 100)), Ruling.PASS, "requests is 0.1"),
        (RATE, watched(Increase(11, 100)), Ruling.FAIL, "requests is 0.11 (at most 0.1)"),
        (PLAIN, watched(Increase(2)), Ruling.PASS, "requests is 2"),
        (PLAIN, watched(Increase(0)), Ruling.FAIL, "requests is 0 (at least 1)"),
        (COHORTS, watched(Increase(9, 10)), Ruling.FAIL, "no servers without the new version"),
        (COHORTS, watched(Increase(9, 10), Increase(1, 9)), Ruling.HOLD, "waiting for 10 samples"),
        (COHORTS, watched(Increase(3, 10), Increase(2, 10)), Ruling.PASS, "requests is 0.3"),
        (COHORTS, watched(Increase(4, 10), Increase(2, 10)), Ruling.FAIL, "2 times (at most 1.5)"),
        (COHORTS, watched(Increase(0, 10), Increase(0, 10)), Ruling.PASS, "requests is 0"),
        (COHORTS, watched(Increase(1, 10), Increase(0, 10)), Ruling.FAIL, "0 elsewhere"),
    ],
)  # fmt: skip
def test_an_increase_is_judged_when_there_is_enough_of_it(
    gate: Metrics, seen: Watched, ruling: Ruling, told: str
) -> None:
    verdict = rule(gate, seen)
    assert verdict.ruling is ruling
    assert told in verdict.sentence


def test_places_are_added_up() -> None:
    assert Increase(1, 10) + Increase(2, 20) == Increase(3, 30)
    assert Increase(1) + Increase(2) == Increase(3)
    assert Increase(1).rate == 1
    assert Increase(1, 0).rate is None
