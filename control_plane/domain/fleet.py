"""Fleets and servers: who must serve the same thing, and where they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

PathMap = Mapping[str, str]  # a server's path prefix -> the same place as we see it
Storage = Literal["visible", "opaque"]
TakeOver = Literal["ask", "always"]


def our_path(path_map: PathMap, server_path: str) -> str:
    """Where we see what a server sees at `server_path`; the longest prefix wins."""
    for prefix in sorted(path_map, key=len, reverse=True):
        stem = prefix.rstrip("/")
        if server_path == stem or server_path.startswith(stem + "/"):
            return path_map[prefix].rstrip("/") + server_path[len(stem) :]
    return server_path


@dataclass(frozen=True, slots=True)
class Fleet:
    """The servers that must serve the same thing."""

    name: str
    created_at: datetime
    description: str = ""
    path_map: PathMap = field(default_factory=dict)
    storage: Storage = "visible"
    take_over: TakeOver = "ask"
    max_unavailable: int = 0
    head: int = 0  # number of the newest revision; 0 before the first
    rv: int = 1


@dataclass(frozen=True, slots=True)
class ServerFlags:
    """A server's own flags as far as somebody told us; None is unknown."""

    allow_version_labels_for_unavailable_models: bool | None = None
    num_load_threads: int | None = None
    file_system_poll_wait_seconds: float | None = None
    max_num_load_retries: int | None = None
    load_retry_interval_micros: int | None = None
    model_config_file_poll_wait_seconds: float | None = None
    num_unload_threads: int | None = None
    grpc_max_threads: int | None = None
    rest_api_port: int | None = None  # 0: no REST
    monitoring_config_file: str | None = None  # "": no metrics


@dataclass(frozen=True, slots=True)
class Server:
    """One TensorFlow Serving process."""

    fleet: str
    name: str
    address: str  # host:port of its gRPC
    created_at: datetime
    rest_address: str = ""
    taken_over: bool = False
    taken_over_at: datetime | None = None  # when somebody last said so
    memory_bytes: int | None = None
    flags: ServerFlags = field(default_factory=ServerFlags)
    rv: int = 1
