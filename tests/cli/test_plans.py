"""How a plan reads on a terminal and in a pipe."""

from typing import Any

import pytest

from control_plane.cli.plans import plan_text, would_change

DIFF = "--- before\n+++ after\n@@ -1,2 +1,3 @@\n versions: 1\n+versions: 2"


def reload(server: str, step: str, **more: Any) -> dict[str, Any]:
    return {
        "server": server,
        "step": step,
        "why": "load m 2",
        "waits_for": [],
        "names_added": [],
        "warm": False,
        "lock_s": 0.0,
        "unlabelled_before": {"m": 1},
        "unlabelled_after": {"m": 2},
        "diff": DIFF,
    } | more


def answer(*reloads: dict[str, Any], **more: Any) -> dict[str, Any]:
    served = {"versions": [1], "labels": {"stable": 1}}
    plan = {
        "kind": "promote",
        "fleet": "default",
        "servers": ["a", "b"],
        "before": {"m": served},
        "after": {"m": served | {"versions": [1, 2]}},
        "unlabelled": {"m": {"before": 1, "during": 2, "after": 2}},
        "signatures": [
            {"model": "m", "label": "stable", "before": 1, "after": 2, "verdict": "identical"}
        ],
        "steps": ["load", "promote"],
        "supersedes": [],
        "reloads": reloads,
        "ends": [{"server": name, "waits_for": ["m 1 END"]} for name in ("a", "b")],
        "memory": {
            name: {"peak_bytes": 2_400_000, "memory_bytes": 4_000_000_000} for name in ("a", "b")
        },
        "eta_s": 1.5,
        "rollback": "instant",
        "warnings": ["mind the gap"],
        "plan_hash": "0123456789abcdef",
    }
    return {"would_change": True, "plan": plan | more}


def test_servers_of_which_the_same_is_told_are_told_of_together() -> None:
    text = plan_text(answer(reload("a", "load"), reload("b", "load")))
    assert "a, b: 1 reload\n  1. load: load m 2 (loads)\n" in text
    assert "  then: m 1 END\n" in text
    assert "memory at the peak: about 2.4 MB of 4.0 GB on a, b\n" in text
    apart = plan_text(answer(reload("a", "load")))
    assert "a: 1 reload\n" in apart
    assert "b: no reload\n" in apart


def test_a_reload_tells_what_it_waits_for_and_what_it_changes() -> None:
    more: dict[str, Any] = {"waits_for": ["m 2 AVAILABLE", "load done on a"], "names_added": ["m"]}
    text = plan_text(answer(reload("a", "promote", lock_s=0.2, warm=True, **more)))
    assert "  1. promote: load m 2 (instant)\n     after: m 2 AVAILABLE; load done on a\n" in text
    assert "     adds m; other reloads wait at least 0.2 s\n" in text
    assert "     unlabelled callers of m get: 1 -> 2\n" in text
    assert "       @@ -1,2 +1,3 @@\n        versions: 1\n       +versions: 2\n" in text


def test_it_ends_with_the_costs_the_warnings_and_the_hash() -> None:
    lines = plan_text(answer()).splitlines()
    assert lines[-4:] == [
        "takes about 1.5 s",
        "rollback: instant",
        "warning: mind the gap",
        "plan hash: 0123456789abcdef",
    ]
    assert "signatures: m stable 1 -> 2: identical" in lines


def test_diffs_have_colours_on_a_terminal_and_none_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = answer(reload("a", "load"))
    assert "\x1b[" not in plan_text(told)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m       +versions: 2" in plan_text(told)


def test_a_dry_run_that_changes_nothing_says_so() -> None:
    assert plan_text({"changed": False}) == "nothing to change"
    assert not would_change({"changed": False})
    assert would_change(answer())
