"""Configs, model specs and statuses between messages and the machine's values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from control_plane.devserver.config import All, Entry, Latest, Specific
from control_plane.devserver.refusal import Code, Refusal
from control_plane.domain.state import VersionStatus
from control_plane.serving import stubs

_MAX_MESSAGE = 1024
_LIST = "model_config_list"


def entries_of(config: Any) -> list[Entry]:
    """Read the model list of a ModelServerConfig, sensible or not."""
    return [_entry(model) for model in config.model_config_list.config]


def read_config_file(path: str) -> list[Entry] | None:
    """Read a config file; None: it is readable and sets nothing.

    Raises:
        Refusal: it is missing, empty, or no ModelServerConfig.
    """
    config = read_text_file(path, stubs.ModelServerConfig())
    return entries_of(config) if config.WhichOneof("config") == _LIST else None


def read_text_file(path: str, message: Any) -> Any:
    """Fill a message from a file in the text format.

    Raises:
        Refusal: the file is missing, empty, or of another kind.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(Code.NOT_FOUND, f"{path}; {error.strerror}") from None
    if not text:
        raise Refusal(Code.INVALID_ARGUMENT, f"{path}; Invalid argument")
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        refused = f"Invalid protobuf file: '{path}': {error}"
        raise Refusal(Code.INVALID_ARGUMENT, refused) from None


def reload_entries(request: Any) -> list[Entry]:
    """Read a reload's list.

    Raises:
        Refusal: it is of another kind, or not there.
    """
    if request.config.WhichOneof("config") != _LIST:
        raise Refusal(
            Code.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
    return entries_of(request.config)


def asked_for(spec: Any) -> tuple[str, int | None, str | None]:
    """Give name, version and label of a ModelSpec; of the latter two at most one is set."""
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def spec_of(request: Any) -> Any:
    """Give a request's ModelSpec.

    Raises:
        Refusal: it has none.
    """
    if not request.HasField("model_spec"):
        raise Refusal(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    return request.model_spec


def status_response(statuses: Mapping[int, VersionStatus]) -> Any:
    """Write the states of a model's versions, in the order given."""
    response = stubs.GetModelStatusResponse()
    for version, one in statuses.items():
        entry = response.model_version_status.add(version=version, state=one.state.value)
        entry.status.error_code = one.error_code
        entry.status.error_message = one.error
    return response


def cut(message: str) -> str:
    """Shorten a message as the server does."""
    return message if len(message) <= _MAX_MESSAGE else f"{message[:_MAX_MESSAGE]}...TRUNCATED"


def _entry(model: Any) -> Entry:
    return Entry(
        name=model.name,
        base_path=model.base_path,
        platform=model.model_platform,
        policy=_policy(model.model_version_policy),
        labels=dict(model.version_labels),
        model_type=model.model_type,
        logging=model.HasField("logging_config"),
    )


def _policy(policy: Any) -> Specific | Latest | All:
    match policy.WhichOneof("policy_choice"):
        case "specific":
            return Specific(tuple(policy.specific.versions))
        case "all":
            return All()
        case _:
            return Latest(policy.latest.num_versions)
