"""The programs of the stack: each can be killed, with what it started, and started again."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.served import free_port
from tests.docker.dockerfile import DOCKER, ROOT

PACKAGES = ("nginx", "postgresql")
PATIENCE_S = 90.0
_MODELS = ROOT / "tests" / "models"


def install() -> None:
    """Install what is missing, without having it started."""
    missing = [one for one in PACKAGES if not _program(one)]
    if not missing:
        return
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)
    finally:
        if ours:
            policy.unlink()


def _program(package: str) -> str:
    if package == "nginx":
        return shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin") or ""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return str(found[-1]) if found else ""


@dataclass
class Part:
    """One program, in a session of its own."""

    name: str
    command: Sequence[str]
    home: Path
    port: int
    user: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may take a while until it answers."""
        with (self.home / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=ROOT if self.user is None else self.home,
                env={**os.environ, **self.settings},
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it with -9, together with what it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)

    def back(self) -> None:
        """Start it, again and again if it ends at once, until its port is open.

        Raises:
            TimeoutError: it never was.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not come up: {self.home / self.name}.log")
            if self.process is None or self.process.poll() is not None:
                self.start()
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether its port is open."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@dataclass
class Stack:
    """nginx before two replicas, which share PostgreSQL and look after two dev servers."""

    home: Path
    database: Part
    replicas: list[Part]
    servers: list[Part]
    nginx: Part

    @property
    def parts(self) -> list[Part]:
        """All of them, in the order in which they need each other."""
        return [self.database, *self.servers, *self.replicas, self.nginx]

    @property
    def url(self) -> str:
        """Where nginx listens."""
        return f"https://localhost:{self.nginx.port}"

    @property
    def certificate(self) -> str:
        """What nginx is known by."""
        return str(self.home / "nginx" / "tls.crt")

    @property
    def token(self) -> str:
        """The first admin token."""
        return (self.home / "data" / "admin-token").read_text().strip()

    @property
    def models(self) -> Path:
        """Where the model's versions are."""
        return self.home / "models" / "half_plus_two"


def made(home: Path) -> Stack:
    """Lay everything out in a folder; nothing runs yet."""
    home.chmod(0o755)
    shutil.copytree(_MODELS / "half_plus_two", home / "models" / "half_plus_two")
    (home / "data").mkdir(mode=0o700)
    database, url = _postgres(home)
    replicas = [_replica(home, number, url) for number in (1, 2)]
    servers = [_server(home, number) for number in (1, 2)]
    return Stack(home, database, replicas, servers, _nginx(home, [one.port for one in replicas]))


def _postgres(home: Path) -> tuple[Part, str]:
    folder, port = home / "postgres", free_port()
    folder.mkdir()
    password = folder / "password"
    password.write_text("not-a-secret")
    for one in (folder, password):
        shutil.chown(one, "postgres", "postgres")
    program = Path(_program("postgresql"))
    data = str(folder / "data")
    init = [str(program.with_name("initdb")), "--pgdata", data, "--username=tfsctl"]
    init += [f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
    _run(init, user="postgres", home=folder)
    command = [str(program), "-D", data, "-p", str(port), "-c", f"unix_socket_directories={folder}"]
    url = f"postgresql://tfsctl:not-a-secret@127.0.0.1:{port}/postgres"
    return Part("postgres", command, folder, port, user="postgres"), url


def _replica(home: Path, number: int, url: str) -> Part:
    port = free_port()
    command = [sys.executable, "-m", "control_plane", "serve", "--port", str(port)]
    settings = {"TFSCTL_DATABASE_URL": url, "TFSCTL_DATA_DIR": str(home / "data")}
    return Part(f"control-plane-{number}", command, home, port, settings=settings)


def _server(home: Path, number: int) -> Part:
    """A dev server that boots from what it was last seen to serve."""
    port, name = free_port(), f"serving-{number}"
    config = home / "boot" / name / "models.config"
    config.parent.mkdir(parents=True)
    shutil.copy(DOCKER / "empty.config", config)
    command = [sys.executable, "-m", "control_plane.devserver", f"--port={port}", "--no_predict"]
    command += [f"--model_config_file={config}", "--max_num_load_retries=0"]
    command += ["--allow_version_labels_for_unavailable_models=true", "--num_load_threads=4"]
    return Part(name, command, home, port)


def _nginx(home: Path, replicas: Sequence[int]) -> Part:
    """nginx with the files that are shipped, its places and ports put where the test's are."""
    folder, port = home / "nginx", free_port()
    folder.mkdir()
    shutil.chown(folder, "www-data", "www-data")
    _certificate(folder)
    ports = {"8443": port, "8080": free_port()}
    server = (DOCKER / "nginx" / "control-plane.conf").read_text()
    for number, own in enumerate(replicas, 1):
        server = server.replace(f"control-plane-{number}:8080", f"127.0.0.1:{own}")
    server = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{ports[found[1]]}", server)
    server = server.replace("/etc/nginx/tls", str(folder)).replace(
        "/dev/stdout", f"{folder}/requests.log"
    )
    whole = (DOCKER / "nginx" / "nginx.conf").read_text().replace("/tmp", str(folder))
    (folder / "control-plane.conf").write_text(server)
    (folder / "nginx.conf").write_text(whole)
    command = [_program("nginx"), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    _run([*command, "-t"], user="www-data", home=folder)
    return Part("nginx", [*command, "-g", "daemon off;"], folder, port, user="www-data")


def _certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    _run(command, user="www-data", home=folder)


def _run(command: Sequence[str], user: str, home: Path) -> None:
    done = subprocess.run(
        command,
        user=user,
        group=user,
        extra_groups=[],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def until(good: Callable[[], bool], what: str) -> None:
    """Wait until it is so.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not good():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)
