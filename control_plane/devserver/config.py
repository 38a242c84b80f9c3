"""A model server's flags and the config that is pushed to it, which may make no sense on purpose.

Also what can be said about a config without looking at anything else: which of its faults are
refused, and in which words.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from control_plane.devserver.refusal import Code, Refusal

TENSORFLOW = "tensorflow"  # the only platform of the stock binary
_MODEL_TYPE_TENSORFLOW = 1
_NO_LABELS: Mapping[str, int] = MappingProxyType({})
_ABSOLUTE = re.compile(r"/|[a-zA-Z][0-9a-zA-Z.]*://")


@dataclass(frozen=True, slots=True)
class Specific:
    """Serve the listed versions, as far as they exist; an empty list unloads the model."""

    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Latest:
    """Serve the n highest numbers; 0 counts as 1."""

    n: int = 1


@dataclass(frozen=True, slots=True)
class All:
    """Serve every child whose name is a number."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ModelConfig of a pushed config."""

    name: str
    base_path: str
    platform: str = TENSORFLOW
    policy: Specific | Latest | All = Latest(1)
    labels: Mapping[str, int] = field(default_factory=lambda: _NO_LABELS)
    model_type: int = 0
    logging: bool = False  # has a logging_config, which the stock binary refuses


@dataclass(frozen=True, slots=True)
class Flags:
    """TensorFlow Serving's flags, with its names and defaults."""

    file_system_poll_wait_seconds: float = 1.0  # 0: one look at start; below 0: none
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0  # 0: in the thread that manages everything else
    num_unload_threads: int = 0
    allow_version_labels_for_unavailable_models: bool = False
    model_config_file_poll_wait_seconds: float = 0.0  # 0: never read again
    enable_model_warmup: bool = True
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)


def check_list(config: Iterable[Entry]) -> None:
    """Refuse doubled names, then paths that are not absolute."""
    names: set[str] = set()
    for entry in config:
        if entry.name in names:
            message = f"Illegal to list model {entry.name} multiple times in config list"
            raise Refusal(Code.INVALID_ARGUMENT, message)
        names.add(entry.name)
    for entry in config:
        if not _ABSOLUTE.match(entry.base_path):
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"Expected model {entry.name} to have an absolute path or URI; "
                f"got base_path()={entry.base_path}",
            )


def platform_of(entry: Entry) -> str:
    """Say which platform an entry asks for, by either of its two fields."""
    old, new = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform"
    if entry.model_type and entry.platform:
        raise _platform_refused(f"Illegal setting both {old} and {new}", entry)
    if entry.model_type not in (0, _MODEL_TYPE_TENSORFLOW):
        message = f"ModelServerConfig::model_type choice {entry.model_type} not supported."
        raise Refusal(Code.INVALID_ARGUMENT, message)
    platform = TENSORFLOW if entry.model_type else entry.platform
    if not platform:
        raise _platform_refused(f"Illegal setting neither {old} nor {new}", entry)
    return platform


def check_platforms_kept(remembered: Iterable[Entry], config: Iterable[Entry]) -> None:
    """Refuse a change of platform; a remembered entry that has none refuses everything."""
    before = {entry.name: platform_of(entry) for entry in remembered}
    for entry in config:
        if entry.name in before and before[entry.name] != (platform := platform_of(entry)):
            raise Refusal(
                Code.INVALID_ARGUMENT,
                f"Illegal to change a model's platform. For model {entry.name} platform was "
                f"{before[entry.name]} and new platform requested is {platform}",
            )


def check_routes(config: Iterable[Entry]) -> None:
    """Refuse entries without a platform or with one that this server does not have."""
    for entry in config:
        if (platform := platform_of(entry)) != TENSORFLOW:
            message = f"Model {entry.name} requests unsupported platform {platform}"
            raise Refusal(Code.INVALID_ARGUMENT, message)


def _platform_refused(what: str, entry: Entry) -> Refusal:
    return Refusal(Code.INVALID_ARGUMENT, f"{what}, model name is {entry.name}")
