"""A control plane and dev servers as processes of their own, and `tfsctl` called as people do."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from control_plane.cli.app import app
from tests.faults.processes import Forked, the_zygote

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models"
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Tfsctl:
    """`tfsctl` with its environment."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Ran:
        """Call it in this process, which is fast."""
        wanted = {**self.environment, **environment}
        result = CliRunner().invoke(app, arguments, input=stdin, env=wanted)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def run(self, *arguments: str, **environment: str) -> Ran:
        """Call it in a process of its own."""
        ended = subprocess.run(
            [sys.executable, "-m", "control_plane", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    def ok(self, *arguments: str) -> Any:
        ran = self(*arguments)
        assert ran.code == 0, ran
        return json.loads(ran.out) if ran.out.strip() else None

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "control_plane", *arguments],
            cwd=ROOT,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass
class Living:
    """What runs; `tfsctl` speaks for the first admin."""

    tfsctl: Tfsctl
    url: str
    models: Path
    home: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def dev_server(self) -> str:
        """Start a model server that serves nothing yet; return its address."""
        return self.stack.enter_context(dev_server(self.home))


@contextmanager
def living(home: Path) -> Iterator[Living]:
    """A control plane, and a copy of the test models that the test may spoil."""
    models = home / "models"
    shutil.copytree(MODELS / "half_plus_two", models / "half_plus_two")
    environment = {
        **os.environ,
        "TFSCTL_DATA_DIR": str(home),
        "TFSCTL_OBSERVE_INTERVAL_S": "0.2",
        "TFSCTL_LOG_FORMAT": "json",
        "COLUMNS": "200",
    }
    with ExitStack() as stack:
        log = home / "control-plane.log"
        started = the_zygote().serve(log, environment | {"TFSCTL_PORT": "0"})
        told = stack.enter_context(ready(started, "control plane serves", log))
        url = json.loads(told)["url"]
        environment |= {
            "TFSCTL_SERVER": url,
            "TFSCTL_TOKEN": (home / "admin-token").read_text().strip(),
        }
        yield Living(Tfsctl(environment), url, models, home, stack)


@contextmanager
def dev_server(home: Path) -> Iterator[str]:
    port = free_port()
    config = home / f"{port}.config"
    config.write_text("model_config_list {}\n")
    flags = [
        "--no_predict",
        f"--port={port}",
        f"--model_config_file={config}",
        "--max_num_load_retries=0",
        "--file_system_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    log = home / f"{port}.log"
    with ready(the_zygote().devserver(log, flags), "Running gRPC ModelServer", log):
        yield f"127.0.0.1:{port}"


@contextmanager
def ready(started: Forked, when: str, log: Path) -> Iterator[str]:
    """A process until the block ends; yields the line of its log that says it is ready."""
    try:
        eventually(lambda: bool(_line(log, when)) or started.ended(), when, START_S)
        assert not started.ended(), log.read_text()
        yield _line(log, when)
    finally:
        started.signal(signal.SIGTERM)
        if not started.ended(20):
            started.kill()


def _line(log: Path, wanted: str) -> str:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return next((line for line in lines if wanted in line and line.endswith("\n")), "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(true: Callable[[], bool], what: str, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)
