"""A config as TensorFlow Serving takes it: one message for the whole server.

Each entry says `model_platform: "tensorflow"` (an empty one wedges reloads until the server is
restarted) and a `specific` policy (any other would change versions without us).
"""

from functools import lru_cache
from typing import Any

from google.protobuf import json_format, text_format

from control_plane.domain.state import Config, Marker
from control_plane.serving import stubs

PLATFORM = "tensorflow"
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


def _entry(config: Config, name: str) -> Any:
    wanted = config.models[name]
    entry = stubs.ModelConfig(name=name, base_path=wanted.base_path, model_platform=PLATFORM)
    entry.model_version_policy.specific.versions.extend(sorted(wanted.versions))
    for label, version in sorted(wanted.labels.items()):
        entry.version_labels[label] = version
    return entry
