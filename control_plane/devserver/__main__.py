"""`python -m control_plane.devserver --port=8500 --model_config_file=FILE`: a model server.

--no_predict   do not run TensorFlow: SavedModels are parsed and checked, and predictions
               are empty; a server takes a few dozen megabytes
--history_file appends everything that happens to this file: reloads, configs in force, states
--host         the address to listen on, 127.0.0.1 unless told otherwise
--rest_api_port, --monitoring_config_file   open REST on that port too, and metrics on it
"""

import logging
import signal
import sys
from collections.abc import Callable, Sequence

from control_plane.devserver.answers import Answers
from control_plane.devserver.chronicle import Chronicle
from control_plane.devserver.config import Entry
from control_plane.devserver.flags import BadFlag, Options, parse_flags
from control_plane.devserver.folders import Folders
from control_plane.devserver.listener import listen
from control_plane.devserver.live import LiveMachine
from control_plane.devserver.machine import Machine
from control_plane.devserver.monitoring import Metrics, read_monitoring_file
from control_plane.devserver.refusal import Refusal
from control_plane.devserver.rest import Rest
from control_plane.devserver.saved_model import Servable, counted, load_without_running
from control_plane.devserver.server import PortTaken, serve
from control_plane.devserver.wire import read_config_file

log = logging.getLogger(__name__)

FAILED = 255


def main(argv: Sequence[str]) -> int:
    """Run until killed; return an exit code if it cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):  # no draining
        signal.signal(number, signal.SIG_DFL)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        options = parse_flags(argv)
        config = _start_config(options)
        metrics_path = _metrics_path(options)
    except BadFlag as error:
        return _failed(str(error))
    except Refusal as refusal:
        return _failed(f"Failed to start server. Error: {refusal}")
    return _run(options, config, metrics_path)


def _run(options: Options, config: list[Entry] | None, metrics_path: str | None) -> int:
    chronicle = Chronicle(options.history_file, options.port) if options.history_file else None
    live, metrics = LiveMachine(chronicle.write if chronicle else None), Metrics()
    answers = Answers(live, metrics)
    disk = Folders(_loader(options, metrics), live.poke)
    live.start(
        lambda now: Machine(
            options.flags, disk, config, now=now, config_file=lambda: _reread(options)
        )
    )
    live.wait_until(lambda machine: machine.ready or machine.failed is not None)
    if problem := live.act(lambda machine: machine.failed):
        return _failed(problem)
    address = f"{options.host}:{options.port}"
    try:
        server = serve(live, answers, metrics, address, options.flags.grpc_max_threads)
    except PortTaken as error:
        return _failed(f"Failed to start server. Error: {error}")
    print(f"Running gRPC ModelServer at {address} ...", file=sys.stderr, flush=True)  # noqa: T201
    if _has_rest(options):
        _open_rest(options, Rest(answers, metrics, metrics_path))
    server.wait_for_termination()
    return 0


def _has_rest(options: Options) -> bool:
    return options.rest_api_port not in (0, options.port)


def _open_rest(options: Options, rest: Rest) -> None:
    """Open the other port; if it cannot be had the server goes on without."""
    address = f"{options.host}:{options.rest_api_port}"
    try:
        listen(options.host, options.rest_api_port, rest)
    except (OSError, OverflowError) as error:
        log.warning("Failed to start HTTP Server at %s: %s", address, error)
        return
    print(f"Exporting HTTP/REST API at:{address} ...", file=sys.stderr, flush=True)  # noqa: T201


def _metrics_path(options: Options) -> str | None:
    if options.rest_api_port == options.port:
        log.warning("rest_api_port cannot be same as port. Skipped exporting HTTP/REST API.")
    if not options.monitoring_config_file or not _has_rest(options):
        return None
    return read_monitoring_file(options.monitoring_config_file)


def _loader(options: Options, metrics: Metrics) -> Callable[[str], Servable]:
    if options.no_predict:
        return counted(load_without_running, metrics)
    from control_plane.devserver.runtime import Runtime

    runtime = Runtime(warmup=options.flags.enable_model_warmup)
    restore = counted(runtime.load, metrics)

    def load(path: str) -> Servable:
        servable = restore(path)
        runtime.warm_up(servable, path, metrics)
        return servable

    return load


def _start_config(options: Options) -> list[Entry] | None:
    if options.model_config_file:
        return read_config_file(options.model_config_file)
    if options.model_base_path:
        return [Entry(options.model_name, options.model_base_path)]
    raise BadFlag(
        "Both server_options.model_base_path and server_options.model_config_file are empty!"
    )


def _reread(options: Options) -> list[Entry] | None:
    """Read the file once more; what is wrong with it is only worth a line in the log."""
    try:
        return _start_config(options)
    except Refusal as refusal:
        log.warning("the config file was not applied: %s", refusal)
        return None


def _failed(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
