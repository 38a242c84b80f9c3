"""A control plane that is killed and started at will, and dev servers that are asked directly."""

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from control_plane.client import Client, calls
from control_plane.client.answers import Rollout
from control_plane.client.errors import Unreachable
from control_plane.domain.state import State
from control_plane.serving import stubs
from tests.contract.served import free_port
from tests.databases import sqlite_url

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models"
FLEET, MODEL = "default", "half_plus_two"
PATIENCE_S = 30.0


def eventually(
    read: Callable[[], Any], good: Callable[[Any], bool], within_s: float = PATIENCE_S
) -> Any:
    deadline = time.monotonic() + within_s
    while not good(seen := read()):
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(0.005)
    return seen


class Server:
    """A dev server without TensorFlow, asked directly."""

    def __init__(self, home: Path, name: str, poll_s: float = 1.0) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = home / f"{name}.config"
        config.write_text("model_config_list {}")
        port = self.address.rpartition(":")[2]
        command = [sys.executable, "-m", "control_plane.devserver", "--no_predict"]
        flags = [
            f"--port={port}",
            f"--model_config_file={config}",
            "--max_num_load_retries=0",
            f"--file_system_poll_wait_seconds={poll_s}",
        ]
        self.process = subprocess.Popen(
            [*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self.channel = grpc.insecure_channel(self.address)

    def state(self, version: int) -> str:
        asked = stubs.GetModelStatusRequest()
        asked.model_spec.name = MODEL
        try:
            told = stubs.ModelServiceStub(self.channel).GetModelStatus(asked, timeout=5)
        except grpc.RpcError:
            return ""
        found = [one for one in told.model_version_status if one.version == version]
        return str(State(found[0].state).name) if found else ""

    def label(self, label: str = "stable") -> int:
        asked = stubs.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name, asked.model_spec.version_label = MODEL, label
        try:
            told = stubs.PredictionServiceStub(self.channel).GetModelMetadata(asked, timeout=5)
        except grpc.RpcError:
            return -1
        return int(told.model_spec.version.value)

    def stop(self) -> None:
        """Let it answer nobody until it goes on; what it is sent waits."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait(10)


@dataclass
class Forked:
    """A process that is not ours to wait for."""

    pid: int
    file: int

    def kill(self) -> None:
        """End it with -9, and return when it is gone."""
        self.signal(signal.SIGKILL)
        assert self.ended(10), f"{self.pid} does not end"
        os.close(self.file)

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it is gone
            signal.pidfd_send_signal(self.file, number)

    def ended(self, within_s: float = 0.0) -> bool:
        """Whether it is gone; waits so long for it."""
        return bool(select.select([self.file], [], [], within_s)[0])


@dataclass(frozen=True)
class Zygote:
    """What control planes are forked off: the process that takes the time is made once."""

    process: "subprocess.Popen[str]"
    turn: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, log: Path, environment: Mapping[str, str]) -> Forked:
        """Start a control plane; it takes its settings from the environment."""
        return self._start("serve", [], log, {**os.environ, **environment})

    def devserver(self, log: Path, argv: list[str]) -> Forked:
        return self._start("devserver", argv, log, os.environ)

    def _start(
        self, what: str, argv: list[str], log: Path, environment: Mapping[str, str]
    ) -> Forked:
        wanted = {"what": what, "argv": argv, "env": dict(environment), "log": str(log)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.turn:
            self.process.stdin.write(json.dumps(wanted) + "\n")
            self.process.stdin.flush()
            pid = int(self.process.stdout.readline())
            return Forked(pid, os.pidfd_open(pid))


@functools.cache
def the_zygote() -> Zygote:
    """The one of this process, which ends with it."""
    made = running_zygote()
    found = made.__enter__()
    atexit.register(made.__exit__, None, None, None)
    return found


@contextmanager
def running_zygote() -> Iterator[Zygote]:
    command = [sys.executable, "-m", "tests.faults.zygote"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        yield Zygote(process)


class ControlPlane:
    """`tfsctl serve` on one database and one port, killed and started at will."""

    def __init__(self, zygote: Zygote, home: Path, database_url: str = "") -> None:
        self.zygote, self.home, self.port = zygote, home, free_port()
        self.database_url = database_url or sqlite_url(home)
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self.process: Forked | None = None

    def start(self) -> None:
        settings = {
            "TFSCTL_AUTH": "off",
            "TFSCTL_PORT": str(self.port),
            "TFSCTL_DATABASE_URL": self.database_url,
            "TFSCTL_DATA_DIR": str(self.home),
        }
        self.process = self.zygote.serve(self.home / "serve.log", settings)
        eventually(self.alive, bool)

    def alive(self) -> bool:
        try:
            self.client.send(calls.ready())
        except Unreachable:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None

    def rollout(self, rollout_id: str) -> Rollout:
        return self.client.send(calls.rollout(rollout_id))

    def over(self, rollout_id: str) -> Rollout:
        ended: Rollout = eventually(lambda: self.rollout(rollout_id), lambda one: not one["live"])
        return ended
