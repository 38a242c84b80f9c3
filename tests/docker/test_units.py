"""The units of systemd and supervisor start what exists, as nobody special, and let it end."""

import shlex
from configparser import ConfigParser, RawConfigParser
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from control_plane.cli.app import app
from control_plane.devserver.flags import parse_flags
from control_plane.settings import PREFIX, Settings
from tests.docker.dockerfile import DOCKER

UNITS = sorted((DOCKER / "systemd").glob("*.service"))
OURS = DOCKER / "systemd" / "tf-serving-control-plane@.service"
MODEL_SERVER = DOCKER / "systemd" / "tensorflow-serving@.service"
GRACE_S = Settings.model_fields["shutdown_grace_s"].default + 2
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}


class Repeated(dict[str, Any]):
    """Keys given several times, as systemd has them: their values, one line each."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and isinstance(self.get(key), list):
            value = [*self[key], *value]
        super().__setitem__(key, value)


def unit(file: Path) -> RawConfigParser:
    read = RawConfigParser(dict_type=Repeated, strict=False, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign] # keys have capitals
    read.read_string(file.read_text().replace("\\\n", " "))
    return read


def supervised() -> Any:
    read = ConfigParser(interpolation=None, comment_prefixes=(";",))
    read.read_string((DOCKER / "supervisor" / "tf-serving-control-plane.conf").read_text())
    return read["program:tfsctl"]


def options_of_serve(command: str) -> tuple[str, dict[str, str]]:
    """The program, and the options that it gives to `tfsctl serve`, which must be its own."""
    program, subcommand, *words = shlex.split(command)
    serve = get_command(app).commands[subcommand]  # type: ignore[attr-defined]
    known = {text for one in serve.params for text in one.opts}
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given.keys() <= known
    return program, given


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_units_are_started_again_and_have_no_rights_they_do_not_need(file: Path) -> None:
    service = unit(file)["Service"]
    assert service["Restart"] == "always"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service.get("User", "") not in ("root", "") or service["DynamicUser"] == "yes"
    assert unit(file)["Install"]["WantedBy"] == "multi-user.target"


def test_systemd_starts_a_replica_for_each_port() -> None:
    service = unit(OURS)["Service"]
    program, given = options_of_serve(service["ExecStart"])
    assert program.endswith("/bin/tfsctl")
    assert given == {"--port": "%i"}
    assert service["StateDirectory"] == "tf-serving-control-plane"
    assert set(_variables(service["Environment"].replace("\n", " "))) <= KNOWN


def test_systemd_and_supervisor_wait_until_a_replica_has_handed_over() -> None:
    service = unit(OURS)["Service"]
    assert int(service["TimeoutStopSec"]) > GRACE_S
    assert service["KillMode"] == "mixed"  # workers end by their parent
    assert int(supervised()["stopwaitsecs"]) > GRACE_S
    assert supervised()["stopsignal"] == "TERM"
    assert supervised().getboolean("stopasgroup") is False
    assert supervised().getboolean("killasgroup") is True


def test_supervisor_starts_replicas_of_its_own_ports_and_keeps_them() -> None:
    program = supervised()
    _, given = options_of_serve(program["command"])
    first, count = int(program["numprocs_start"]), int(program["numprocs"])
    values = [{"process_num": first + number} for number in range(count)]
    ports = [given["--port"] % each for each in values]
    assert ports == ["8081", "8082"]
    assert [program["process_name"] % each for each in values] == [f"tfsctl-{one}" for one in ports]
    assert program.getboolean("autostart")
    assert program.getboolean("autorestart")
    assert program["user"] != "root"
    given_settings = _variables(program["environment"].replace(",", " "))
    assert {name for name in given_settings if name.startswith(PREFIX)} <= KNOWN
    assert ":" not in given_settings[f"{PREFIX}DATABASE_URL"].split("//")[1].split("@")[0]


def test_model_servers_start_with_flags_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    command = shlex.split(unit(MODEL_SERVER)["Service"]["ExecStart"].replace("%i", "8500"))
    options = parse_flags(command[1:])
    assert "unknown argument" not in capsys.readouterr().out
    assert options.port == 8500
    assert options.flags.allow_version_labels_for_unavailable_models


def _variables(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(text))
