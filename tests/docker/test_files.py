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
    build = services["control-plane"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).exists()


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
        mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in one["volumes"][:1]}
        assert read_config_file(str(DOCKER / mounted[options.model_config_file])) == []
    assert "unknown argument" not in capsys.readouterr().out


def test_the_control_plane_uses_the_database_of_the_stack(compose: dict[str, Any]) -> None:
    ours, database = compose["services"]["control-plane"], compose["services"]["database"]
    names = database["environment"]
    user, name = names["POSTGRES_USER"], names["POSTGRES_DB"]
    url = ours["environment"][f"{PREFIX}DATABASE_URL"]
    assert re.fullmatch(rf"postgresql://{user}:\S+@database/{name}", url.replace(" ", ""))
    assert ours["depends_on"]["database"]["condition"] == "service_healthy"
    assert set(ours["networks"]) & set(database["networks"])
