"""`python -m control_plane.devserver --port=8500 --model_config_file=FILE`: a model server.

--no_predict   do not run TensorFlow: SavedModels are parsed and checked, and predictions
               are empty; a server takes a few dozen megabytes
--host         the address to listen on, 127.0.0.1 unless told otherwise
"""

import logging
import signal
import sys
from collections.abc import Callable, Sequence

from control_plane.devserver.config import Entry
from control_plane.devserver.flags import BadFlag, Options, parse_flags
from control_plane.devserver.folders import Folders
from control_plane.devserver.live import LiveMachine
from control_plane.devserver.machine import Machine
from control_plane.devserver.refusal import Refusal
from control_plane.devserver.saved_model import Servable, load_without_running
from control_plane.devserver.server import PortTaken, serve
from control_plane.devserver.wire import read_config_file

FAILED = 255


def main(argv: Sequence[str]) -> int:
    """Run until killed; return an exit code if it cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):  # no draining
        signal.signal(number, signal.SIG_DFL)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        options = parse_flags(argv)
        config = _start_config(options)
    except BadFlag as error:
        return _failed(str(error))
    except Refusal as refusal:
        return _failed(f"Failed to start server. Error: {refusal}")
    return _run(options, config)


def _run(options: Options, config: list[Entry] | None) -> int:
    live = LiveMachine()
    disk = Folders(_loader(options), live.poke)
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
        server = serve(live, address, options.flags.grpc_max_threads)
    except PortTaken as error:
        return _failed(f"Failed to start server. Error: {error}")
    print(f"Running gRPC ModelServer at {address} ...", file=sys.stderr, flush=True)  # noqa: T201
    server.wait_for_termination()
    return 0


def _loader(options: Options) -> Callable[[str], Servable]:
    if options.no_predict:
        return load_without_running
    from control_plane.devserver.runtime import Runtime

    return Runtime(warmup=options.flags.enable_model_warmup).load


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
        logging.getLogger(__name__).warning("the config file was not applied: %s", refusal)
        return None


def _failed(sentence: str) -> int:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201
    return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
