"""`tfsctl` against a running control plane: the registry, access, forms of output, exit codes."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.cli.living import ROOT, Living, Ran, Tfsctl, eventually, free_port

MODEL = "half_plus_two"


@pytest.fixture(scope="module", autouse=True)
def model(plane: Living) -> None:
    base_path = str(plane.models / MODEL)
    plane.tfsctl.ok("model", "add", MODEL, "--base-path", base_path, "--owner", "ann")
    plane.tfsctl.ok("version", "scan", MODEL)


def test_output_takes_five_forms(tfsctl: Tfsctl) -> None:
    def versions(*form: str) -> str:
        return tfsctl("version", "list", MODEL, *form).out

    numbers = [3, 2, 1]
    assert [row["version"] for row in json.loads(versions())] == numbers
    assert [row["version"] for row in json.loads(versions("-o", "json"))] == numbers
    assert [row["version"] for row in yaml.safe_load(versions("-o", "yaml"))] == numbers
    assert versions("-o", "name") == "3\n2\n1\n"
    assert versions("-o", "table").split()[:3] == ["MODEL", "VERSION", "STATUS"]
    assert "DIGEST" in versions("-o", "wide")
    assert "DIGEST" not in versions("-o", "table")


def test_options_before_the_command_count_too(tfsctl: Tfsctl) -> None:
    assert tfsctl("-o", "name", "model", "list").out == f"{MODEL}\n"
    assert tfsctl("-o", "name", "model", "list", "-o", "json").data[0]["owner"] == "ann"


def test_nothing_is_coloured_in_a_pipe_or_where_it_is_not_wanted(tfsctl: Tfsctl) -> None:
    ran = tfsctl("model", "show", "nobody", NO_COLOR="1")
    assert "\x1b" not in ran.err + ran.out


def test_a_name_that_is_taken_is_a_conflict(tfsctl: Tfsctl) -> None:
    assert tfsctl("model", "add", MODEL, "--base-path", "/models/x", "--force").code == 5


def test_what_is_invalid_names_the_field_and_is_a_usage_error(tfsctl: Tfsctl) -> None:
    ran = tfsctl("model", "add", "x", "--base-path", "relative")
    assert ran.code == 2
    assert "base_path" in ran.err


@pytest.mark.parametrize("arguments", [("promote",), ("nonsense",), ("model", "list", "--nope")])
def test_wrong_usage_is_exit_code_two(tfsctl: Tfsctl, arguments: tuple[str, ...]) -> None:
    assert tfsctl(*arguments).code == 2


def test_no_control_plane_there_is_a_failure_that_names_the_address(tfsctl: Tfsctl) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran = tfsctl("model", "list", "--server", url)
    assert ran.code == 1
    assert url in ran.err


def test_without_a_valid_token_there_is_nothing(tfsctl: Tfsctl) -> None:
    assert tfsctl("model", "list", TFSCTL_TOKEN="").code == 4
    assert tfsctl("model", "list", "--token", "cp_x_y").code == 4


def test_tokens_are_made_used_and_revoked(tfsctl: Tfsctl) -> None:
    token = tfsctl("token", "create", "vera", "--role", "viewer", "-o", "name").out.strip()
    assert tfsctl("model", "list", TFSCTL_TOKEN=token).code == 0
    assert tfsctl("version", "scan", MODEL, TFSCTL_TOKEN=token).code == 4
    shown = tfsctl("token", "create", "walt", "--role", "viewer", "-o", "table").out.strip()
    assert tfsctl("model", "list", TFSCTL_TOKEN=shown).code == 0
    assert "vera" in [row["name"] for row in tfsctl.ok("token", "list")]
    assert tfsctl("token", "revoke", "vera").code == 0
    eventually(lambda: tfsctl("model", "list", TFSCTL_TOKEN=token).code == 4, "vera is out")


def test_the_first_admin_token_is_for_its_owner_alone(plane: Living) -> None:
    assert (plane.home / "admin-token").stat().st_mode & 0o777 == 0o600


def test_signatures_are_shown_compared_and_sampled(tfsctl: Tfsctl) -> None:
    shown = tfsctl.ok("signature", "show", MODEL, "1")
    assert shown["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert tfsctl.ok("signature", "show", MODEL, "1", "--sample")
    assert tfsctl.ok("signature", "diff", MODEL, "1", "2")["verdict"] == "identical"


def test_a_version_is_forgotten_and_registered_again(tfsctl: Tfsctl) -> None:
    assert tfsctl("version", "delete", MODEL, "3").code == 0
    assert tfsctl("version", "show", MODEL, "3").code == 3
    assert tfsctl.ok("version", "add", MODEL, "3", "--tag", "who=me")["tags"] == {"who": "me"}


def test_a_dry_run_of_a_registration_registers_nothing(tfsctl: Tfsctl) -> None:
    ran = tfsctl("model", "add", "dry", "--base-path", "/m", "--force", "--dry-run", "--exit-code")
    assert ran.code == 10
    assert tfsctl("model", "show", "dry").code == 3


def test_the_journal_is_listed_and_followed(tfsctl: Tfsctl) -> None:
    kinds = [event["kind"] for event in tfsctl.ok("events", "--model", MODEL)]
    assert "model.created" in kinds
    with tfsctl.start("events", "--follow", "--after", "0", "--kind", "model.created") as following:
        assert following.stdout is not None
        try:
            assert json.loads(following.stdout.readline())["model"] == MODEL
        finally:
            following.terminate()


@pytest.fixture(scope="module")
def lonely(tfsctl: Tfsctl) -> str:
    """A fleet whose only server does not answer, so that its rollouts wait."""
    tfsctl.ok("fleet", "add", "lonely")
    where = f"127.0.0.1:{free_port()}"
    tfsctl.ok("server", "add", where, "--name", "away", "--take-over", "--fleet", "lonely")
    return "lonely"


@pytest.fixture
def deploy(tfsctl: Tfsctl, lonely: str) -> Iterator[tuple[str, ...]]:
    yield (
        *("deploy", MODEL, "--fleet", lonely, "--versions", "1", "--label", "stable=1"),
        *("--force", "--supersede"),
    )
    for rollout in _live(tfsctl):
        tfsctl.ok("rollout", "abort", rollout, "--reason", "the test is over")


def _live(tfsctl: Tfsctl) -> list[str]:
    return [one["id"] for one in tfsctl.ok("rollout", "list", "--fleet", "lonely") if one["live"]]


def test_waiting_too_long_leaves_the_rollout_alone(tfsctl: Tfsctl, deploy: tuple[str, ...]) -> None:
    ran = tfsctl(*deploy, "--timeout", "0.3")
    assert ran.code == 7
    assert "goes on" in ran.err
    assert len(_live(tfsctl)) == 1
    assert tfsctl("status", "--fleet", "lonely", "--timeout", "0.3").code == 7


def test_ctrl_c_detaches_and_aborts_nothing(tfsctl: Tfsctl, deploy: tuple[str, ...]) -> None:
    with tfsctl.start(*deploy) as waiting:
        eventually(lambda: bool(_live(tfsctl)), "the rollout is live")
        assert waiting.stderr is not None
        waiting.stderr.readline()  # it watches now
        waiting.send_signal(signal.SIGINT)
        said = waiting.stderr.read()
        assert waiting.wait(10) == 130
    assert "tfsctl rollout watch" in said
    assert len(_live(tfsctl)) == 1


def test_a_rollout_is_paused_resumed_and_aborted(tfsctl: Tfsctl, deploy: tuple[str, ...]) -> None:
    rollout = tfsctl.ok(*deploy, "--no-wait")["id"]
    assert tfsctl.ok("rollout", "pause", rollout)["phase"] == "paused"
    assert tfsctl.ok("rollout", "resume", rollout)["live"]
    assert tfsctl.ok("rollout", "abort", rollout)["phase"] == "aborted"
    assert tfsctl("rollout", "watch", rollout).code == 8
    assert tfsctl("rollout", "abort", rollout).code == 5


def test_a_rollout_in_flight_is_in_the_way_of_the_next(
    tfsctl: Tfsctl, deploy: tuple[str, ...]
) -> None:
    tfsctl.ok(*deploy, "--no-wait")
    ran: Ran = tfsctl(*deploy[:-1])
    assert ran.code == 5


def test_servers_are_shown_and_removed(tfsctl: Tfsctl, lonely: str) -> None:
    fleet = ("--fleet", lonely)
    tfsctl.ok(
        "server", "add", "127.0.0.1:1", "--name", "spare", "--flag", "num_load_threads=2", *fleet
    )
    assert tfsctl.ok("server", "show", "spare", *fleet)["flags"] == {"num_load_threads": 2}
    assert tfsctl.ok("server", "take-over", "spare", *fleet)["taken_over"] is True
    assert tfsctl("server", "remove", "spare", *fleet).code == 0
    assert tfsctl("server", "show", "spare", *fleet).code == 3


def test_the_scripts_are_promote_and_rollback() -> None:
    for script, command in (("promote.sh", "promote"), ("rollback.sh", "rollback")):
        shebang, line = (ROOT / "scripts" / script).read_text().splitlines()
        assert shebang == "#!/bin/sh"
        assert line.endswith(f'exec tfsctl {command} "$@"')


def test_a_second_control_plane_on_the_same_file_is_refused(plane: Living, tmp_path: Path) -> None:
    ran = plane.tfsctl.run("serve", "--port", "0")
    assert ran.code == 5
    assert "Another process" in ran.err
    assert plane.tfsctl("db", "current").out.strip() == plane.tfsctl.ok("db", "history")[-1]["id"]
    assert plane.tfsctl("db", "backup", str(tmp_path / "copy.db")).code == 0


def test_several_workers_on_sqlite_are_refused(tfsctl: Tfsctl, tmp_path: Path) -> None:
    ran = tfsctl.run("serve", "--workers", "2", TFSCTL_DATA_DIR=str(tmp_path))
    assert ran.code == 2
    assert "workers: SQLite is for one process; use PostgreSQL" in ran.err


def test_a_lease_that_ends_too_soon_is_refused_with_the_rule(tfsctl: Tfsctl) -> None:
    ran = tfsctl.run("serve", TFSCTL_LEASE_TTL_S="5")
    assert ran.code == 2
    assert "lease_ttl_s: 5 is not above 2 × lease_renew_s + send_margin_s = 2 × 2 + 1" in ran.err


def test_a_newer_database_is_not_served_and_named(tfsctl: Tfsctl, tmp_path: Path) -> None:
    here = {"TFSCTL_DATA_DIR": str(tmp_path)}
    assert tfsctl("db", "upgrade", **here).code == 0
    with closing(sqlite3.connect(tmp_path / "control-plane.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
        file.commit()
    ran = tfsctl.run("serve", "--port", "0", **here)
    assert ran.code == 1
    assert "The database is at 9999" in ran.err


def test_an_open_control_plane_stays_on_loopback(plane: Living) -> None:
    ran = plane.tfsctl.run("serve", "--auth", "off", "--host", "0.0.0.0")
    assert ran.code == 2
    assert "loopback only" in ran.err


def test_the_database_is_upgraded_and_copied(tfsctl: Tfsctl, tmp_path: Path) -> None:
    here = {"TFSCTL_DATA_DIR": str(tmp_path)}
    assert tfsctl("db", "current", **here).out == "empty\n"
    assert tfsctl("db", "upgrade", **here).code == 0
    newest = tfsctl.ok("db", "history")[-1]["id"]
    assert tfsctl("db", "current", **here).out.strip() == newest
    assert tfsctl("db", "backup", str(tmp_path / "copy.db"), **here).code == 0
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    assert tfsctl("db", "current", "--database-url", url).out.strip() == newest
