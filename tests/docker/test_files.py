"""The Dockerfile and compose.yaml name only what exists."""

import re
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml

from control_plane.devserver.flags import parse_flags
from control_plane.devserver.wire import read_config_file
from control_plane.settings import PREFIX, Settings
from tests.docker.dockerfile import DOCKER, ROOT, stages

REPLICAS = ("control-plane-1", "control-plane-2")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / "compose.yaml").read_text()))


def locked(name: str) -> dict[str, str]:
    """What a lock file says of each package: its version, marker and hashes."""
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(==.*(?:\\\n.*)*)", text, flags=re.MULTILINE))


def test_everything_that_the_dockerfile_copies_is_there_and_sent_to_the_builder() -> None:
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    sources = [one for stage in stages() for copy in stage.copies for one in copy.sources]
    own = [one for one in sources if not one.startswith("/")]
    assert own
    assert [one for one in own if not (ROOT / one).exists()] == []
    assert [one for one in own if not any(fnmatch(one, f"{entry}*") for entry in sent)] == []


def test_stages_copy_from_stages_before_them() -> None:
    names: list[str] = []
    for stage in stages():
        assert {copy.stage for copy in stage.copies} <= {"", *names}
        names.append(stage.name)


def test_the_image_runs_as_somebody_without_rights_and_with_settings_that_exist() -> None:
    image = stages()[-1]
    assert image.user.isdigit()
    assert int(image.user) > 0
    ours = {name for name in image.environment if name.startswith(PREFIX)}
    assert ours <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_the_image_holds_no_tensorflow() -> None:
    assert "stubs" in {copy.stage for copy in stages()[-1].copies}
    assert not {name for name in locked("runtime.txt") if "tensorflow" in name or name == "keras"}
    assert locked("stubs.txt").keys() == {"tensorflow", "tensorflow-serving-api"}


@pytest.mark.parametrize("name", ["runtime.txt", "stubs.txt"])
def test_the_image_gets_the_packages_that_were_tested(name: str) -> None:
    tested = locked("dev.txt")
    assert {name: tested.get(name) for name in locked(name)} == locked(name)


def test_compose_services_name_what_exists(compose: dict[str, Any]) -> None:
    services, networks = compose["services"], compose["networks"]
    for one in services.values():
        assert set(one.get("networks", [])) <= networks.keys()
        assert set(one.get("depends_on", {})) <= services.keys()
        for source in (volume.split(":")[0] for volume in one.get("volumes", [])):
            named = source in compose["volumes"] or source.startswith("${")
            assert named or (DOCKER / source).exists(), source
    builds = [one["build"] for one in services.values() if "build" in one]
    assert len(builds) == 2
    assert all((DOCKER / one["context"] / one["dockerfile"]).exists() for one in builds)


def test_everything_but_model_servers_and_database_runs_without_rights(
    compose: dict[str, Any],
) -> None:
    free = {name for name, one in compose["services"].items() if not one.get("read_only")}
    assert free == {"database", "serving-1", "serving-2"}
    for name, one in compose["services"].items():
        assert name in free or one["cap_drop"] == ["ALL"]
        assert name in free or one["security_opt"] == ["no-new-privileges:true"]
        assert one["restart"] == "unless-stopped"
        assert ":" in one["image"] or "build" in one


def test_only_nginx_and_prometheus_can_be_reached_from_outside(compose: dict[str, Any]) -> None:
    reached = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert reached.keys() == {"nginx", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for port in reached["prometheus"])


def test_replicas_believe_nginx_alone_about_who_calls(compose: dict[str, Any]) -> None:
    (network,) = compose["networks"]["front"]["ipam"]["config"]
    there = {n for n, one in compose["services"].items() if "front" in one.get("networks", [])}
    assert there == {"nginx", *REPLICAS}
    for name in REPLICAS:
        environment = compose["services"][name]["environment"]
        assert environment["FORWARDED_ALLOW_IPS"] == network["subnet"]


def test_two_model_servers_start_with_an_empty_list_and_flags_that_exist(
    compose: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    servers = [
        one
        for one in compose["services"].values()
        if one["image"].startswith("tensorflow/serving:")
    ]
    assert len(servers) == 2
    for one in servers:
        options = parse_flags(one["command"])
        assert options.flags.allow_version_labels_for_unavailable_models
        assert options.flags.num_load_threads > 0
        mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in one["volumes"][:2]}
        assert (DOCKER / mounted[options.monitoring_config_file]).exists()
        assert read_config_file(str(DOCKER / mounted[options.model_config_file])) == []
    assert "unknown argument" not in capsys.readouterr().out


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_control_plane_uses_the_database_of_the_stack(
    compose: dict[str, Any], replica: str
) -> None:
    ours, database = compose["services"][replica], compose["services"]["database"]
    names = database["environment"]
    user, name = names["POSTGRES_USER"], names["POSTGRES_DB"]
    url = ours["environment"][f"{PREFIX}DATABASE_URL"]
    assert re.fullmatch(rf"postgresql://{user}:\S+@database/{name}", url.replace(" ", ""))
    assert ours["depends_on"]["database"]["condition"] == "service_healthy"
    assert set(ours["networks"]) & set(database["networks"])
