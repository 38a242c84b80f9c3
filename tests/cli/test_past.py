"""`tfsctl rollout evidence`, `history --label`, `restore` and `resume-hold`: what was, and back."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.living import Living, Tfsctl

MODEL = "half_plus_two"
PROMOTE = ("promote", MODEL, "2", "--force")


@pytest.fixture
def promoted(served: Living) -> dict[str, Any]:
    """The rollout that made version 2 stable instead of version 1; both are loaded."""
    tfsctl = served.tfsctl
    tfsctl.ok("deploy", MODEL, "--versions", "1,2", "--label", "stable=1", "--force")
    rollout: dict[str, Any] = tfsctl.ok(*PROMOTE, "--reason", "better")
    return rollout


def stable(tfsctl: Tfsctl) -> int:
    version: int = tfsctl.ok("status", MODEL)["labels"]["stable"]
    return version


def test_the_evidence_of_a_rollout_is_a_document_and_a_page(
    tfsctl: Tfsctl, promoted: dict[str, Any], tmp_path: Path
) -> None:
    told = tfsctl.ok("rollout", "evidence", promoted["id"])
    assert told["rollout"]["id"] == promoted["id"]
    assert told["events"][-1]["data"]["phase"] == "succeeded"
    page = tmp_path / "evidence.html"
    ran = tfsctl("rollout", "evidence", promoted["id"], "--html", str(page))
    assert (ran.code, ran.out) == (0, "")
    assert str(page) in ran.err
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert all(one in text for one in (promoted["id"], "better", told["sha256"]))
    assert "http://" not in text
    assert tfsctl("rollout", "evidence", "nobody").code == 3


def test_the_history_of_a_label_says_what_answered_it_and_who_moved_it(
    tfsctl: Tfsctl, promoted: dict[str, Any]
) -> None:
    of_label = ("history", MODEL, "--label", "stable")
    now, before, *_ = tfsctl.ok(*of_label)
    assert (now["version"], now["until"], now["servers"]) == (2, None, ["one"])
    assert (now["rollout"], now["reason"]) == (promoted["id"], "better")
    assert (before["version"], before["until"]) == (1, now["since"])
    (then,) = tfsctl.ok(*of_label, "--at", before["since"])
    assert then["version"] == 1
    assert len(tfsctl.ok(*of_label, "--limit", "1")) == 1
    heads, row, *_ = tfsctl(*of_label, "-o", "table").out.splitlines()
    assert "  ".join(heads.split()) == "VERSION  SINCE  UNTIL  SERVERS  MOVED  BY  WHY  REVISION"
    assert row.startswith("2 ")
    assert {"now", "one", "better"} <= set(row.split())


@pytest.mark.parametrize(
    "wrong", [("--label", "stable"), (MODEL, "--at", "2026-01-01T00:00:00Z")], ids=" ".join
)
def test_a_label_needs_a_model_and_a_time_needs_a_label(
    tfsctl: Tfsctl, wrong: tuple[str, ...]
) -> None:
    assert tfsctl("history", *wrong).code == 2


def test_a_restore_shows_its_plan_and_is_held_to_it(
    tfsctl: Tfsctl, promoted: dict[str, Any]
) -> None:
    restore = ("restore", str(promoted["from_revision"]))
    shown = tfsctl(*restore, "--dry-run", "--exit-code", "-o", "table")
    assert shown.code == 10
    assert shown.out.startswith("restore in fleet default, on one; nothing is changed yet\n")
    assert "after:  versions 1, 2; labels stable=1" in shown.out
    assert "one: 1 reload\n  1. promote: half_plus_two: stable → 1 (instant)" in shown.out
    plan_hash = shown.out.splitlines()[-1].removeprefix("plan hash: ")
    other = tfsctl(*restore, "--plan-hash", "0123456789abcdef")
    assert (other.code, "planned" in other.err) == (5, True)
    assert stable(tfsctl) == 2
    restored = tfsctl(*restore, "--plan-hash", plan_hash, "--reason", "as it was")
    assert (restored.code, restored.data["kind"], restored.data["phase"]) == (
        0,
        "restore",
        "succeeded",
    )
    assert stable(tfsctl) == 1
    assert tfsctl.ok("history")[0]["reason"] == "as it was"
    again = tfsctl(*restore)
    assert (again.code, again.data) == (0, {"changed": False})


def test_what_never_was_is_not_restored(tfsctl: Tfsctl, promoted: dict[str, Any]) -> None:
    assert tfsctl("restore", "9999").code == 3
    assert tfsctl("restore", "0").code == 2
    assert stable(tfsctl) == 2


def test_a_service_promotes_what_was_rolled_back_from_only_after_a_person_resumes(
    tfsctl: Tfsctl, promoted: dict[str, Any]
) -> None:
    token = tfsctl.ok("token", "create", "ci", "--role", "operator", "--kind", "service")["token"]
    tfsctl.ok("rollback", MODEL, "--reason", "worse")
    held = tfsctl(*PROMOTE, "--token", token)
    assert (held.code, "resume-hold" in held.err) == (4, True)
    assert tfsctl("resume-hold", MODEL, "--token", token).code == 4
    assert tfsctl("resume-hold", MODEL, "--dry-run", "--exit-code").code == 10
    assert tfsctl(*PROMOTE, "--token", token).code == 4
    resumed = tfsctl.ok("resume-hold", MODEL, "--reason", "it was the network")
    assert [one["version"] for one in resumed["resumed"]] == [2]
    assert tfsctl(*PROMOTE, "--token", token).code == 0
    assert tfsctl.ok("resume-hold", MODEL) == {"changed": False, "resumed": []}
