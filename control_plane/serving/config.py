"""A config as TensorFlow Serving takes it: one message for the whole server.

Each entry says `model_platform: "tensorflow"` (an empty one wedges reloads until the server is
restarted) and a `specific` policy (any other would change versions without us).
"""

from functools import lru_cache
from typing import Any

from google.protobuf import json_format, text_format

from control_plane.domain.catalog import check_base_path, check_name, check_version
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.importing import Listed
from control_plane.domain.state import MARKER_PREFIX, Config, Marker
from control_plane.serving import stubs

PLATFORM = "tensorflow"
_TENSORFLOW = 1  # the deprecated `model_type` of the same
_KEPT = 64  # a fleet's servers are sent the same config at about the same time


@lru_cache(maxsize=_KEPT)
def config_message(config: Config, marker: Marker | None, owner: str) -> Any:
    """Return the `ModelServerConfig`; the marker's model also carries our two labels.

    `owner` is the whole label that says whose config it is. It is shared: leave it as it is.
    """
    entries = [_entry(config, name) for name in sorted(config.models)]
    if marker is not None:
        marked = next(entry for entry in entries if entry.name == marker.model)
        marked.version_labels[config.digest_label] = marker.version
        marked.version_labels[owner] = marker.version
    # Set even when empty: an absent list is refused, an empty one unloads everything.
    return stubs.ModelServerConfig(model_config_list=stubs.ModelConfigList(config=entries))


@lru_cache(maxsize=_KEPT)
def config_text(config: Config, marker: Marker | None, owner: str) -> str:
    """Return the config as text proto, as a server's `--model_config_file` takes it."""
    return str(text_format.MessageToString(config_message(config, marker, owner)))


def config_json(config: Config, marker: Marker | None, owner: str) -> dict[str, Any]:
    """Return the config as protobuf's JSON, with the proto's own field names."""
    message = config_message(config, marker, owner)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def read_config(text: str) -> tuple[Listed, ...]:
    """Read a `ModelServerConfig` in text proto, as a server's `--model_config_file` takes it.

    Our own marker labels, which an exported config may carry, are left out.

    Raises:
        FieldInvalid: it is no such config, or nothing that could go out again as it is.
    """
    message = stubs.ModelServerConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise FieldInvalid("config", f"no ModelServerConfig in text proto: {error}") from None
    if message.WhichOneof("config") != "model_config_list":
        raise FieldInvalid("config", "it has no model_config_list")
    listed = tuple(_listed(one) for one in message.model_config_list.config)
    names = [one.name for one in listed]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise FieldInvalid("config", f"{doubled[0]} is listed more than once")
    return listed


def _listed(entry: Any) -> Listed:
    name = check_name("config", entry.name)
    if entry.model_platform not in ("", PLATFORM) or entry.model_type not in (0, _TENSORFLOW):
        text = f"{name} asks for a platform other than {PLATFORM}, which is all that we push"
        raise FieldInvalid("config", text)
    labels = {
        check_name("config", label): check_version("config", version)
        for label, version in entry.version_labels.items()
        if not label.startswith(MARKER_PREFIX)
    }
    policy, versions = entry.model_version_policy, None
    if policy.WhichOneof("policy_choice") == "specific":
        versions = frozenset(check_version("config", one) for one in policy.specific.versions)
    return Listed(name, check_base_path(entry.base_path, "config"), versions, labels)


def _entry(config: Config, name: str) -> Any:
    wanted = config.models[name]
    entry = stubs.ModelConfig(name=name, base_path=wanted.base_path, model_platform=PLATFORM)
    entry.model_version_policy.specific.versions.extend(sorted(wanted.versions))
    for label, version in sorted(wanted.labels.items()):
        entry.version_labels[label] = version
    return entry
