"""Starts dev servers in milliseconds, forked off a process that has TensorFlow imported already.

python zygote.py SOCKET                     the zygote; ends when its standard input does
python zygote.py SOCKET --port=8500 ...     a stand-in for one server: takes its place among
                                            processes, lives as long as it does, ends with it
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]


def stand_in(address: str, argv: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        socket.send_fds(line, [json.dumps(argv).encode()], [1, 2])
        return (line.recv(1) or b"\x01")[0]


def zygote(address: str) -> None:
    sys.path.insert(0, str(ROOT))
    from control_plane.devserver.runtime import Runtime

    Runtime(warmup=False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        while True:
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _become_server(line)
            line.close()


def _become_server(line: socket.socket) -> None:
    from control_plane.devserver.__main__ import main

    content, files, _, _ = socket.recv_fds(line, 1 << 16, 2)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    threading.Thread(target=_end_with, args=(line.fileno(),), daemon=True).start()
    code = main(json.loads(content))
    line.send(bytes([code]))
    os._exit(code)


def _end_with(file: int) -> None:
    """End this process when the other side of a pipe or a socket is gone."""
    os.read(file, 1)
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(stand_in(sys.argv[1], sys.argv[2:]))
    zygote(sys.argv[1])
