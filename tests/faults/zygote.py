"""Starts `tfsctl` in milliseconds, forked off a process that has imported everything already.

Each line of standard input, `{"argv", "env", "log"}`, is answered with the new process's id. The
zygote ends when its standard input does; what it started goes on.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any


def zygote() -> None:
    import control_plane.bootstrap  # noqa: F401 - what takes the time

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        print(pid, flush=True)


def _become(wanted: Mapping[str, Any]) -> None:
    from control_plane.__main__ import main

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.argv = ["tfsctl", *wanted["argv"]]
    main()
    os._exit(0)


if __name__ == "__main__":
    zygote()
