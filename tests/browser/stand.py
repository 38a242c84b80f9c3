"""A control plane with two dev servers as processes, which tests of pages may stop and start."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.living import MODELS, ROOT, Tfsctl, eventually, free_port

MODEL = "half_plus_two"
SERVERS = ("dev-1", "dev-2")
PLANE = "control-plane"
_START_S = 60.0
_END_S = 20.0


@dataclass
class Stand:
    """What runs; `tfsctl` speaks for the first admin, whose token is `token`."""

    home: Path
    port: int = field(default_factory=free_port)
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    observe_interval_s: float = 0.2

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def models(self) -> Path:
        """A copy of the test models that tests may spoil."""
        return self.home / "models"

    @property
    def token(self) -> str:
        return (self.home / "admin-token").read_text().strip()

    @property
    def tfsctl(self) -> Tfsctl:
        return Tfsctl(self._environment() | {"TFSCTL_TOKEN": self.token})

    def token_of(self, name: str, role: str) -> str:
        """Make a token."""
        made: str = self.tfsctl.ok("token", "create", name, "--role", role)["token"]
        return made

    def serve(self) -> None:
        """Start the control plane, again if it was stopped."""
        self._start(PLANE, "control plane serves", "control_plane", "serve")

    def start(self, server: str, *flags: str) -> None:
        """Start a dev server where it was before, empty as after a crash."""
        config = self.home / f"{server}.config"
        config.write_text("model_config_list {}\n")
        self._start(
            server,
            "Running gRPC ModelServer",
            "control_plane.devserver",
            "--no_predict",
            f"--port={self.ports.setdefault(server, free_port())}",
            f"--model_config_file={config}",
            "--max_num_load_retries=0",
            "--file_system_poll_wait_seconds=1",
            "--allow_version_labels_for_unavailable_models=true",
            *flags,
        )

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End a dev server, or the control plane; kill it as a crash does."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        process.wait(_END_S)

    def _start(self, name: str, ready: str, *module: str) -> None:
        log = self.home / f"{name}.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", *module]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.running[name] = process

        def ready_or_ended() -> bool:
            return process.poll() is not None or ready in log.read_text()

        eventually(ready_or_ended, f"{name}: {ready}", _START_S)
        assert process.poll() is None, log.read_text()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TFSCTL_DATA_DIR": str(self.home),
            "TFSCTL_PORT": str(self.port),
            "TFSCTL_SERVER": self.url,
            "TFSCTL_OBSERVE_INTERVAL_S": str(self.observe_interval_s),
            "TFSCTL_LOG_FORMAT": "json",
            "COLUMNS": "200",
        }


@contextmanager
def stand(home: Path, *, observe_interval_s: float = 0.2) -> Iterator[Stand]:
    """Two servers serve version 1 of half_plus_two as stable; 2 and 3 are known."""
    shutil.copytree(MODELS / MODEL, home / "models" / MODEL)
    built = Stand(home, observe_interval_s=observe_interval_s)
    try:
        built.serve()
        tfsctl = built.tfsctl
        tfsctl.ok("model", "add", MODEL, "--base-path", str(built.models / MODEL))
        tfsctl.ok("version", "scan", MODEL)
        for server in SERVERS:
            built.start(server)
            address = f"127.0.0.1:{built.ports[server]}"
            tfsctl.ok("server", "add", address, "--name", server, "--take-over")
        tfsctl.ok("deploy", MODEL, "--versions", "1", "--label", "stable=1", "--force")
        yield built
    finally:
        for name in list(built.running):
            built.stop(name)
