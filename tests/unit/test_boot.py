"""What a server could boot from, by what is known of it; and files that are replaced whole."""

import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_plane.domain.boot import boot_config, boot_path, not_kept
from control_plane.domain.fleet import Fleet, Server, ServerFlags
from control_plane.domain.observed import Observed, Verified, VersionSeen
from control_plane.domain.state import Config, ModelConfig, State
from control_plane.serving import boot_file
from control_plane.serving.config import config_text

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HELD = Config(
    {
        "good": ModelConfig("/m/good", frozenset({1, 2}), {"stable": 1, "canary": 2}),
        "other": ModelConfig("/m/other", frozenset({7}), {"stable": 7}),
    }
)
ALL = {"good": {1: State.AVAILABLE, 2: State.AVAILABLE}, "other": {7: State.AVAILABLE}}


def observed(states: dict[str, dict[int, State]], config: Config | None = HELD) -> Observed:
    models = {
        name: {number: VersionSeen(state, 1.0) for number, state in versions.items()}
        for name, versions in states.items()
    }
    return Observed(models=models, verified=Verified(config, None, 1.0) if config else None)


def booted(seen: Observed, *, labels: bool = False, gone: str = "") -> Config | None:
    return boot_config(seen, labels=labels, loads=lambda name, _: name != gone)


def test_what_is_available_of_the_verified_config_is_kept_without_labels() -> None:
    assert booted(observed(ALL)) == Config(
        {
            "good": ModelConfig("/m/good", frozenset({1, 2})),
            "other": ModelConfig("/m/other", frozenset({7})),
        }
    )


def test_labels_are_kept_where_the_server_takes_them_from_a_file() -> None:
    states = ALL | {"good": {1: State.AVAILABLE, 2: State.LOADING}}
    found = booted(observed(states), labels=True)
    assert found is not None
    assert found.models["good"] == ModelConfig("/m/good", frozenset({1}), {"stable": 1})
    assert found.models["other"].labels == {"stable": 7}


@pytest.mark.parametrize("state", [one for one in State if one is not State.AVAILABLE])
def test_what_is_not_available_would_keep_the_port_closed(state: State) -> None:
    found = booted(observed(ALL | {"other": {7: state}}))
    assert found is not None
    assert set(found.models) == {"good"}


def test_what_lies_badly_in_storage_is_left_out_though_it_is_loaded() -> None:
    found = booted(observed(ALL), gone="other")
    assert found is not None
    assert set(found.models) == {"good"}


def test_what_was_kept_before_stays_until_something_is_known() -> None:
    assert booted(observed(ALL, None)) is None
    assert booted(observed({"good": {1: State.LOADING}})) is None
    assert booted(observed({}, Config())) == Config()


def test_no_config_is_a_file_that_a_server_would_not_take() -> None:
    assert config_text(Config(), None, "").split() == ["model_config_list", "{", "}"]


def test_the_file_is_where_the_server_sees_it_unless_it_re_reads_it() -> None:
    fleet = Fleet("eu", NOON, boot_config_dir="/boot")
    assert boot_path(fleet, "a") == "/boot/a/models.config"
    assert boot_path(Fleet("eu", NOON), "a") == ""
    polls = ServerFlags(model_config_file_poll_wait_seconds=1)
    assert "re-reads" in not_kept(Server("eu", "a", "a:1", NOON, flags=polls))
    never = ServerFlags(model_config_file_poll_wait_seconds=0)
    assert not_kept(Server("eu", "a", "a:1", NOON, flags=never)) == ""


def test_a_file_is_written_when_it_says_something_else(tmp_path: Path) -> None:
    file = tmp_path / "a" / "models.config"
    assert boot_file.keep(str(file), "one")
    assert not boot_file.keep(str(file), "one")
    (file.parent / ".new-left").write_text("by one that was killed")
    assert boot_file.keep(str(file), "two")
    assert file.read_text() == "two"
    assert [one.name for one in file.parent.iterdir()] == ["models.config"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        boot_file.keep(str(tmp_path / "mount" / "a" / "models.config"), "one")
    assert list(tmp_path.iterdir()) == []


def test_who_reads_while_it_is_written_sees_one_whole_text_or_the_other(tmp_path: Path) -> None:
    file = tmp_path / "a" / "models.config"
    texts = [letter * 100_000 for letter in "ab"]
    boot_file.keep(str(file), texts[0])
    over, seen = threading.Event(), set()

    def read() -> None:
        while not over.is_set():
            seen.add(file.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        boot_file.keep(str(file), texts[number % 2])
    over.set()
    reader.join()
    assert seen <= set(texts)
