"""A config as a server takes it, as text and as JSON."""

from google.protobuf import text_format

from control_plane.domain.state import Config, Marker, ModelConfig
from control_plane.serving import stubs
from control_plane.serving.config import config_json, config_message, config_text

CONFIG = Config(
    {
        "z": ModelConfig("/models/z", frozenset({2})),
        "a": ModelConfig("/models/a", frozenset({10, 9}), {"stable": 9, "可": 10}),
    }
)
OWNER = "_cp_owner_here_default"


def test_models_and_versions_are_sorted_and_say_their_platform() -> None:
    message = config_message(CONFIG, None, OWNER)
    assert [entry.name for entry in message.model_config_list.config] == ["a", "z"]
    assert {entry.model_platform for entry in message.model_config_list.config} == {"tensorflow"}
    first = message.model_config_list.config[0]
    assert list(first.model_version_policy.specific.versions) == [9, 10]
    assert dict(first.version_labels) == {"stable": 9, "可": 10}


def test_only_the_marked_model_carries_our_marks() -> None:
    message = config_message(CONFIG, Marker("z", 2), OWNER)
    labels = [dict(entry.version_labels) for entry in message.model_config_list.config]
    assert labels == [{"stable": 9, "可": 10}, {CONFIG.digest_label: 2, OWNER: 2}]


def test_the_text_is_what_a_config_file_holds() -> None:
    marker = Marker("a", 9)
    parsed = text_format.Parse(config_text(CONFIG, marker, OWNER), stubs.ModelServerConfig())
    assert parsed == config_message(CONFIG, marker, OWNER)
    assert "model_config_list" in config_text(Config(), None, OWNER)


def test_the_json_keeps_the_protos_own_names() -> None:
    entries = config_json(CONFIG, None, OWNER)["model_config_list"]["config"]
    assert entries[1] == {
        "name": "z",
        "base_path": "/models/z",
        "model_platform": "tensorflow",
        "model_version_policy": {"specific": {"versions": ["2"]}},
    }
