"""Fleets and servers: who must serve the same thing, and where they are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

PathMap = Mapping[str, str]  # a server's path prefix -> the same place as we see it
Storage = Literal["visible", "opaque"]
TakeOver = Literal["ask", "always"]
OnDrift = Literal["enforce", "alert", "adopt"]


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
    boot_config_dir: str = ""  # as the servers see it; "": no boot configs are kept
    on_drift: OnDrift = "enforce"  # ours goes back; we only say so; theirs becomes desired
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
class Drain:
    """That callers are kept away from a server, and on whose word."""

    at: datetime
    actor: str
    reason: str = ""


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
    source: str = ""  # what found it; "": somebody registered it
    joined: bool = True  # False: a source found it, and it has not had its whole config yet
    drain: Drain | None = None
    rv: int = 1


def counted(servers: Iterable[Server]) -> tuple[Server, ...]:
    """Return the servers that the first step of a rollout waits for, of those that are ours.

    Who was just found gets its config first; where nobody has had it yet, all count.
    """
    ours = tuple(servers)
    return tuple(one for one in ours if one.joined) or ours
