"""Facts about a server -> findings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.domain.diagnosis import diagnose
from control_plane.domain.drift import Probably
from control_plane.domain.events import Event, EventKind
from control_plane.domain.finding import Check, Facts, Finding, Front, Place, Verdict, worst
from control_plane.domain.fleet import Server, ServerFlags
from control_plane.domain.observed import Observed, Presence
from control_plane.domain.state import State
from tests.unit.planning import config, entry, failed, running, strange

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = AT.timestamp()
UP = State.AVAILABLE
LABEL = "Request to assign label to version 2 of model m, which is not currently available"
SEEN = replace(running(config(m=entry("m", 1)), {"m": {1: UP}}), at=NOW)


def facts(*history: Event, observed: Observed = SEEN, **more: Any) -> Facts:
    flags = more.pop("flags", ServerFlags())
    server = Server("default", "a", "a:8500", AT, taken_over=True, flags=flags)
    given = {"last_seen": NOW} | more
    return Facts(NOW, server, observed, history=history, **given)


def found(check: Check, known: Facts) -> Finding:
    return next(one for one in diagnose(known) if one.check is check)


def verdict(check: Check, known: Facts) -> str:
    return str(found(check, known).verdict)


def event(kind: EventKind, before_s: float, model: str = "", **data: Any) -> Event:
    return Event(kind, AT - timedelta(seconds=before_s), "loop", model=model, server="a", data=data)


def reloaded(before_s: float, code: str = "OK", message: str = "", **added: list[int]) -> Event:
    data: dict[str, Any] = {"code": code, "message": message, "took_s": 0.0, "added": added}
    return event(EventKind.SERVER_RELOADED, before_s, **data)


def state(before_s: float, model: str, version: int, was: str, now: str, error: str = "") -> Event:
    data: dict[str, Any] = {"version": version, "before": was, "state": now, "error": error}
    return event(EventKind.VERSION_STATE_CHANGED, before_s, model, **data)


def loading(begin_s: float, end_s: float, model: str, error: str = "") -> tuple[Event, ...]:
    return (
        state(begin_s, model, 2, "", "LOADING"),
        state(end_s, model, 2, "LOADING", "END" if error else "AVAILABLE", error),
    )


def test_a_server_that_nobody_asked_lately_is_neither_well_nor_ill() -> None:
    assert verdict(Check.REACHABILITY, facts(last_seen=NOW - 100)) == "unknown"
    assert verdict(Check.REACHABILITY, facts(last_seen=0.0, observed=Observed())) == "unknown"
    away = replace(SEEN, reachable=False, unreachable_since=NOW - 5)
    assert "for 5 s" in found(Check.REACHABILITY, facts(observed=away)).found


def test_a_refused_label_says_more_than_what_was_told() -> None:
    refused = reloaded(10, "FAILED_PRECONDITION", LABEL)
    told = ServerFlags(allow_version_labels_for_unavailable_models=True)
    assert verdict(Check.LABELS_FLAG, facts(flags=told)) == "ok"
    assert verdict(Check.LABELS_FLAG, facts(refused, flags=told)) == "problem"
    assert LABEL in found(Check.LABELS_FLAG, facts(refused)).found


def test_a_config_that_is_replaced_again_and_again_is_read_from_a_file_or_written() -> None:
    drifts = [event(EventKind.SERVER_DRIFTED, one, cause=Probably.WRITER) for one in (30, 20, 10)]
    told = ServerFlags(model_config_file_poll_wait_seconds=0)
    assert verdict(Check.CONFIG_FILE_POLLING, facts(*drifts, flags=told)) == "problem"
    assert verdict(Check.CONFIG_FILE_POLLING, facts(*drifts[1:], flags=told)) == "ok"
    assert verdict(Check.CONFIG_FILE_POLLING, facts(last_seen=1_000.0 + 599)) == "unknown"
    assert "10 min" in found(Check.CONFIG_FILE_POLLING, facts(last_seen=1_000.0 + 600)).found


@pytest.mark.parametrize(("seconds", "expected"), [(0, "problem"), (-1, "problem"), (1, "ok")])
def test_a_poll_that_was_told_is_judged(seconds: float, expected: str) -> None:
    flags = ServerFlags(file_system_poll_wait_seconds=seconds)
    assert verdict(Check.FILE_POLL, facts(flags=flags)) == expected
    slow = ServerFlags(file_system_poll_wait_seconds=30)
    assert verdict(Check.FILE_POLL, facts(flags=slow)) == "problem"


def test_a_version_that_was_noticed_late_tells_a_slow_poll_unless_another_one_loaded() -> None:
    late = (reloaded(60, m=[2]), state(20, "m", 2, "", "START"))
    assert "40 s after" in found(Check.FILE_POLL, facts(*late)).found
    beside = (reloaded(62, n=[2]), *loading(61, 21, "n"))
    assert verdict(Check.FILE_POLL, facts(*beside, *late)) == "ok"
    there = (reloaded(60, m=[2]), state(20, "m", 2, "AVAILABLE", "UNLOADING"))
    assert verdict(Check.FILE_POLL, facts(*there)) == "unknown"


def test_retries_are_judged_by_what_a_failure_costs() -> None:
    def declared(**flags: Any) -> str:
        return verdict(Check.LOAD_RETRIES, facts(flags=ServerFlags(**flags)))

    assert declared(max_num_load_retries=0, load_retry_interval_micros=60_000_000) == "ok"
    assert declared(max_num_load_retries=5) == "problem"
    assert declared(load_retry_interval_micros=1_000_000) == "ok"
    slow = (reloaded(400, m=[2]), *loading(399, 98, "m", "bad variables"))
    assert "301.0 s" in found(Check.LOAD_RETRIES, facts(*slow)).found
    assert verdict(Check.LOAD_RETRIES, facts(*slow)) == "problem"


def test_no_unload_thread_is_as_bad_as_no_load_thread() -> None:
    flags = ServerFlags(num_load_threads=2, num_unload_threads=0)
    assert "num_unload_threads" in found(Check.LOAD_THREADS, facts(flags=flags)).found


def test_an_exhausted_pool_shows_in_answers_to_reloads_and_to_looks() -> None:
    flags = ServerFlags(grpc_max_threads=64)
    assert verdict(Check.THREAD_POOL, facts(flags=flags)) == "ok"
    refused = reloaded(5, "RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
    assert "Exhausted" in found(Check.THREAD_POOL, facts(refused, flags=flags)).found
    tired = replace(SEEN, exhausted_at=NOW - 300)
    assert "5 min ago" in found(Check.THREAD_POOL, facts(observed=tired, flags=flags)).found


def place(*complete: int, base_path: bool | None = True, **faults: str) -> Place:
    missing = {int(name.strip("v")): text for name, text in faults.items()}
    presence = Presence(base_path, frozenset(complete), missing)
    return Place("/models/m", "/ours/m", frozenset({1, 2}), presence)


def paths(one: Place, observed: Observed = SEEN) -> Finding:
    return found(Check.PATHS, facts(observed=observed, places={"m": one}))


def test_paths_are_judged_from_both_sides() -> None:
    both = running(config(m=entry("m", 1, 2)), {"m": {1: UP, 2: UP}})
    assert paths(place(1, 2), both).verdict is Verdict.OK
    assert "path_map" in paths(place(base_path=False), both).fix
    assert "copying" in paths(place(1, v2="copying"), both).found
    refused = running(
        config(m=entry("m", 1, 2)), {"m": {1: UP, 2: replace(failed(), error_code=5)}}
    )
    assert "bad variables" in paths(place(1, 2), refused).found
    assert paths(place(base_path=None), both).verdict is Verdict.UNKNOWN
    assert paths(place(1, 2)).verdict is Verdict.UNKNOWN
    asked = replace(SEEN, verified=both.verified, added={"m": {2: NOW - 7}})
    assert "m 2, 7 s after" in paths(place(1, 2), asked).found
    assert verdict(Check.PATHS, facts(observed=strange({}))) == "unknown"


def test_a_clock_is_judged_beyond_what_the_answer_took() -> None:
    def skewed(seconds: float, took_s: float = 0.0) -> str:
        front = Front(answers=True, skew_s=seconds, round_trip_s=took_s)
        return verdict(Check.CLOCK, facts(front=front))

    assert [skewed(6), skewed(-6), skewed(7), skewed(-7)] == ["ok", "ok", "problem", "problem"]
    assert skewed(7, took_s=2.0) == "ok"
    assert verdict(Check.CLOCK, facts(front=Front(answers=True))) == "unknown"


def test_a_problem_is_worse_than_what_is_unknown() -> None:
    one = [Finding(Check.CLOCK, each, "") for each in Verdict]
    assert worst(one) is Verdict.PROBLEM
    assert worst([one[0], one[2]]) is Verdict.UNKNOWN
    assert worst([]) is Verdict.OK


def test_every_problem_has_a_fix_and_everything_unknown_a_way_to_find_out() -> None:
    bad = ServerFlags(False, 0, 0, 5, None, 1, 0, 4, 0, "")
    for known in (facts(flags=bad), facts(), facts(observed=Observed(), last_seen=0.0)):
        for one in diagnose(known):
            assert bool(one.fix) == (one.verdict is Verdict.PROBLEM), one
            assert bool(one.find_out) == (one.verdict is Verdict.UNKNOWN), one
