"""The processes of a run, and the only ones that a run ever ends: all were started here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import psycopg

from tests.databases import Postgres

ROOT = Path(__file__).parents[2]
_END_S = 20.0
QUICK: Mapping[str, str] = {
    "TFSCTL_LEASE_TTL_S": "3",
    "TFSCTL_LEASE_RENEW_S": "1",
    "TFSCTL_SEND_MARGIN_S": "0.5",
    "TFSCTL_OBSERVE_INTERVAL_S": "1",
    "TFSCTL_SWEEP_S": "5",
}


class Process:
    """A program that can be started again and again, on the same port."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it unless it runs."""
        if self.runs:
            return
        with self._log.open("ab") as out:
            environment = {**os.environ, **QUICK}
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=out, env=environment, cwd=ROOT
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it runs."""
        if self._process is not None and self.runs:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it with -9, frozen or not, and wait for that."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(_END_S)

    def end(self) -> float:
        """End it politely; return how many seconds that took."""
        began = time.monotonic()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(_END_S)
        self.kill()
        return time.monotonic() - began


def server(name: str, port: int, home: Path, *flags: str) -> Process:
    """A dev server without TensorFlow; its predictions name their version and hold nothing."""
    config = home / f"{name}.config"
    config.write_text("model_config_list {}")
    given = [f"--port={port}", f"--model_config_file={config}", "--no_predict", *flags]
    given += ["--file_system_poll_wait_seconds=1", "--max_num_load_retries=0"]
    given += [f"--history_file={home / f'{name}.jsonl'}"]
    return Process(name, ["control_plane.devserver", *given], home / f"{name}.log")


def replica(name: str, port: int, home: Path, url: str) -> Process:
    """One `tfsctl serve`."""
    where = ["--port", str(port), "--database-url", url, "--data-dir", str(home)]
    return Process(name, ["control_plane", "serve", "--auth", "off", *where], home / f"{name}.log")


def crash(postgres: Postgres) -> None:
    """Kill one process of a PostgreSQL: it ends all others, recovers, and comes back."""
    with (
        suppress(psycopg.OperationalError),  # it recovers from the last time
        closing(psycopg.connect(postgres.url("postgres"), autocommit=True)) as connection,
    ):
        os.kill(connection.info.backend_pid, signal.SIGKILL)
