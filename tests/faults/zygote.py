"""Starts control planes and dev servers in milliseconds, forked off what has imported everything.

Each line of standard input, `{"what", "argv", "env", "log"}`, is answered with the new process's
id. The zygote ends when its standard input does, and takes along what it started.
"""

import ctypes
import functools
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def zygote() -> None:
    sys.modules["rich"] = None  # type: ignore[assignment] # as in the real process
    import control_plane.bootstrap  # what takes the time
    import control_plane.devserver.__main__  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    for line in sys.stdin:
        wanted = json.loads(line)
        if wanted["what"] == "devserver" and "--no_predict" not in wanted["argv"]:
            _import_tensorflow()
        pid = os.fork()
        if pid == 0:
            _become(wanted)
        print(pid, flush=True)


@functools.cache
def _import_tensorflow() -> None:
    """Once for all servers that predict; none of the others has it."""
    from control_plane.devserver.runtime import Runtime

    Runtime(warmup=False)


def _become(wanted: Mapping[str, Any]) -> NoReturn:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os._exit(_devserver(wanted["argv"]) if wanted["what"] == "devserver" else _serve())


def _serve() -> int:
    from control_plane import daemon

    return daemon.main()


def _devserver(argv: list[str]) -> int:
    from control_plane.devserver.__main__ import main

    return main(argv)


if __name__ == "__main__":
    zygote()
