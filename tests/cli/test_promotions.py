"""`tfsctl` moves labels on a running control plane and a running model server."""

import os
import pty
import subprocess
import sys

import pytest

from tests.cli.living import ROOT, Living, Tfsctl, eventually, free_port

MODEL = "half_plus_two"


@pytest.fixture
def at_one(served: Living) -> Tfsctl:
    """Stable is on version 1, whatever another test did."""
    if _stable(served.tfsctl) != 1:
        served.tfsctl.ok("rollback", MODEL, "--to-version", "1")
    return served.tfsctl


def _stable(tfsctl: Tfsctl) -> int:
    version: int = tfsctl.ok("status", MODEL)["labels"]["stable"]
    return version


def _resolved(tfsctl: Tfsctl) -> int:
    version: int = tfsctl.ok("resolve", MODEL, "stable")["version"]
    return version


def test_promote_and_rollback_move_the_label_and_back(at_one: Tfsctl) -> None:
    promoted = at_one("promote", MODEL, "2", "--force", "--reason", "better")
    assert (promoted.code, promoted.data["phase"]) == (0, "succeeded")
    assert "succeeded" in promoted.err
    eventually(lambda: _resolved(at_one) == 2, "stable resolves to 2")
    back = at_one("rollback", MODEL, "--reason", "worse")
    assert (back.code, back.data["kind"]) == (0, "rollback")
    eventually(lambda: _resolved(at_one) == 1, "stable resolves to 1")
    newest, before, *_ = at_one.ok("history", MODEL)
    assert (newest["kind"], newest["reason"]) == ("rollback", "worse")
    assert (before["kind"], before["reason"]) == ("promote", "better")
    table = at_one("history", MODEL, "-o", "table").out
    assert f"{MODEL}: stable=2 of 1, 2" in table


def test_promoting_to_where_the_label_is_changes_nothing(at_one: Tfsctl) -> None:
    ran = at_one("promote", MODEL, "1", "--force")
    assert (ran.code, ran.data) == (0, {"changed": False})
    assert "nothing to change" in ran.err


def test_a_dry_run_shows_the_plan_and_changes_nothing(at_one: Tfsctl) -> None:
    ran = at_one("promote", MODEL, "2", "--force", "--dry-run", "--exit-code", "-o", "table")
    assert ran.code == 10
    assert "after:  versions 1, 2; labels stable=2" in ran.out
    assert at_one("promote", MODEL, "2", "--force", "--dry-run").code == 0
    assert at_one("promote", MODEL, "1", "--force", "--dry-run", "--exit-code").code == 0
    assert _stable(at_one) == 1


def test_an_expectation_that_is_wrong_is_a_conflict(at_one: Tfsctl) -> None:
    ran = at_one("promote", MODEL, "2", "--force", "--expect", "3")
    assert ran.code == 5
    assert ran.err.startswith("error: ")
    assert ran.out == ""


def test_a_version_that_is_not_registered_is_invalid(at_one: Tfsctl) -> None:
    assert at_one("promote", MODEL, "77").code == 2


def test_a_model_that_nobody_knows_is_not_found(at_one: Tfsctl) -> None:
    assert at_one("promote", "nobody", "1").code == 3


def test_a_promotion_can_be_left_to_itself(at_one: Tfsctl) -> None:
    begun = at_one("promote", MODEL, "2", "--force", "--no-wait")
    assert (begun.code, begun.data["live"]) == (0, True)
    watched = at_one("rollout", "watch", begun.data["id"])
    assert (watched.code, watched.data["phase"]) == (0, "succeeded")


def test_status_blocks_until_nothing_moves(at_one: Tfsctl) -> None:
    begun = at_one.ok("promote", MODEL, "2", "--force", "--no-wait")
    (row,) = at_one.ok("status")
    assert (row["status"]["phase"], row["rollout"]) == ("converged", None)
    assert at_one.ok("rollout", "show", begun["id"])["phase"] == "succeeded"
    table = at_one("status", MODEL, "--no-wait", "-o", "table").out
    assert table.split()[:4] == ["MODEL", "LABELS", "VERSIONS", "UNLABELLED"]


def test_undo_is_another_word_for_rollback(at_one: Tfsctl) -> None:
    at_one.ok("promote", MODEL, "2", "--force")
    assert at_one.ok("undo", MODEL, "--to-version", "1")["kind"] == "rollback"
    assert _stable(at_one) == 1


def test_a_prediction_is_passed_on(at_one: Tfsctl) -> None:
    body = '{"instances": [1.0]}'
    assert at_one("predict", MODEL, body, "--label", "nobody").code == 3
    assert at_one("predict", MODEL, body, "--label", "stable", "--version", "1").code == 2
    answered = at_one("predict", MODEL, "-", "--label", "stable", stdin=body)
    assert "empty tensor map" in answered.err  # this server runs no model, and says so


def test_a_version_whose_files_broke_fails_and_moves_nothing(
    served: Living, at_one: Tfsctl
) -> None:
    at_one.ok("version", "show", MODEL, "3")
    file = served.models / MODEL / "3" / "saved_model.pb"
    whole = file.read_bytes()
    file.write_bytes(b"\x0a\xff\xffnot a SavedModel")
    try:
        ran = at_one("promote", MODEL, "3", "--force")
    finally:
        file.write_bytes(whole)
    assert (ran.code, ran.data["phase"]) == (8, "failed")
    assert ran.data["error"] in ran.err
    assert _stable(at_one) == 1


def test_servers_that_are_away_are_laggards_where_the_fleet_allows_it(served: Living) -> None:
    tfsctl, fleet = served.tfsctl, ("--fleet", "spread")
    tfsctl.ok("fleet", "add", "spread", "--max-unavailable", "1")
    tfsctl.ok("server", "add", served.dev_server(), "--name", "here", "--take-over", *fleet)
    away = f"127.0.0.1:{free_port()}"
    tfsctl.ok("server", "add", away, "--name", "away", "--take-over", *fleet)
    ran = tfsctl("deploy", MODEL, "--versions", "1", "--label", "stable=1", "--force", *fleet)
    assert (ran.code, ran.data["laggards"]) == (9, ["away"])


def test_a_terminal_shows_a_live_picture_and_tables(at_one: Tfsctl) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "control_plane", "promote", MODEL, "2", "--force"]
    environment = {**at_one.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as promoting:
        os.close(theirs)
        shown = _read_all(ours)
    assert promoting.returncode == 0
    assert "\x1b[" in shown
    assert "promote" in shown
    assert "SENTENCE" in shown


def _read_all(descriptor: int) -> str:
    """Read a terminal until its last writer has gone, which Linux tells as an error."""
    said = b""
    try:
        while chunk := os.read(descriptor, 65_536):
            said += chunk
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return said.decode()
