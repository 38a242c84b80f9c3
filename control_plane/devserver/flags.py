"""The command line: TensorFlow Serving's flags by its names, and a few of the dev server's own.

As there, an unknown flag is named on standard output and has no effect.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from control_plane.devserver.config import Flags

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_NOT_EMULATED = frozenset(
    """
    allow_version_labels batching_parameters_file enable_batching
    enable_grpc_healthcheck_service enable_per_model_batching_parameters enable_profiler
    flush_filesystem_caches grpc_channel_arguments grpc_socket_path
    num_request_iterations_for_warmup per_process_gpu_memory_fraction platform_config_file
    prefer_tflite_model remove_unused_fields_from_bundle_metagraph
    rest_api_enable_cors_support rest_api_num_threads rest_api_timeout_in_ms
    saved_model_tags ssl_config_file tensorflow_inter_op_parallelism
    tensorflow_intra_op_parallelism tensorflow_session_parallelism use_alts_credentials
    """.split()  # noqa: SIM905 (a list would take a line for each)
)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that the command line says."""

    flags: Flags = field(default_factory=Flags)
    port: int = 8500
    host: str = "127.0.0.1"
    rest_api_port: int = 0  # 0: no REST, and no metrics
    monitoring_config_file: str = ""  # without it no metrics
    model_config_file: str = ""
    model_name: str = "default"  # this and the next only without a config file
    model_base_path: str = ""
    history_file: str = ""  # where everything that happens is written
    no_predict: bool = False  # run without TensorFlow; predictions are empty


class BadFlag(ValueError):
    """The value of a flag is not of its type."""


def parse_flags(argv: Iterable[str]) -> Options:
    """Read `--flag=value`, `--flag value` and bare booleans.

    Raises:
        BadFlag: a value cannot be read.
    """
    serving = {f.name: f.default for f in dataclasses.fields(Flags)}
    own = {f.name: f.default for f in dataclasses.fields(Options) if f.name != "flags"}
    found: dict[str, object] = {}
    for name, text in _pairs(list(argv), serving | own):
        default = (serving | own).get(name)
        if default is not None:
            found[name] = _value(name, text, default)
        elif name in _NOT_EMULATED:
            print(f"not emulated: --{name}", flush=True)  # noqa: T201
        else:
            print(f"unknown argument: --{name}", flush=True)  # noqa: T201
    flags = Flags(**{name: found[name] for name in found if name in serving})  # type: ignore[arg-type]
    rest = {name: found[name] for name in found if name in own}
    return Options(flags=flags, **rest)  # type: ignore[arg-type]


def _pairs(argv: list[str], known: dict[str, object]) -> Iterator[tuple[str, str | None]]:
    words = iter(range(len(argv)))
    for at in words:
        name, equals, text = argv[at].removeprefix("--").partition("=")
        following = argv[at + 1] if at + 1 < len(argv) else "--"
        if equals:
            yield name, text
        elif following.startswith("--") or not _takes(known.get(name), following):
            yield name, None
        else:
            next(words)
            yield name, following


def _takes(default: object, word: str) -> bool:
    """Say whether the next word is the value of a flag; for a boolean only if it looks like one."""
    return default is None or not isinstance(default, bool) or word in _BOOLEANS


def _value(name: str, text: str | None, default: object) -> object:
    if isinstance(default, bool):
        if (text or "true") in _BOOLEANS:
            return _BOOLEANS[text or "true"]
        raise BadFlag(f"Couldn't interpret value {text} for flag {name}.")
    read = {int: int, float: float}.get(type(default), str)
    try:
        return read(text or "")
    except ValueError:
        raise BadFlag(f"Couldn't interpret value {text} for flag {name}.") from None
