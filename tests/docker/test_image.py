"""The image's content, put together here: it works where TensorFlow is not installed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from urllib.error import URLError

import pytest
from packaging.requirements import Requirement

from tests.docker.dockerfile import ROOT, stages

PARTS = ("control_plane.serving", "control_plane.api.app", "control_plane.bootstrap")


@dataclass(frozen=True)
class Image:
    root: Path
    python: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The image's variables, its places put under the test's folder."""
        own = {
            name: str(self.root) + value if value.startswith("/") else value
            for name, value in stages()[-1].environment.items()
            if name != "PATH"
        }
        folders = (self.python.parent, self.root / "usr/local/bin", "/usr/bin", "/bin")
        return {"PATH": os.pathsep.join(map(str, folders)), **own, **more}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def files(self) -> set[Path]:
        data = self.root / "var"
        return {one for one in self.root.rglob("*") if data not in (one, *one.parents)}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the Dockerfile's last stage copies, with an environment of the locked packages alone."""
    root = tmp_path_factory.mktemp("image")
    venv = root / "opt" / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    site = venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for entry in runtime_packages():
        (site / entry.name).symlink_to(entry)
    script = [sys.executable, str(ROOT / "docker" / "copy_stubs.py"), str(site)]
    subprocess.run(script, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60)
    for copy in stages()[-1].copies:
        for source in copy.sources if not copy.stage else ():
            put(ROOT / source, root / copy.target.lstrip("/"))
    return Image(root, venv / "bin" / "python")


def runtime_packages() -> set[Path]:
    """The installed files and folders of what `requirements/runtime.txt` lists for this machine."""
    lines = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    wanted = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].strip()]
    found = set()
    for one in wanted:
        if one.marker and not one.marker.evaluate():
            continue
        package = distribution(one.name)
        assert package.version in one.specifier
        tops = {file.parts[0] for file in package.files or () if file.parts[0] != ".."}
        found |= {Path(str(package.locate_file(top))) for top in tops - {"__pycache__"}}
    return found


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@contextmanager
def serving(image: Image, data: Path) -> Iterator[str]:
    """The image's control plane; yields its URL. It must end by itself when told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = image.environment(
        TFSCTL_DATA_DIR=str(data), TFSCTL_HOST="127.0.0.1", TFSCTL_PORT=str(port)
    )
    with (data.parent / "log").open("wb") as log:
        process = subprocess.Popen(["tfsctl", "serve"], env=own, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)


def answer(url: str, within_s: float = 30) -> int:
    deadline = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as found:
                return int(found.status)
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_tensorflow_cannot_be_imported_there(image: Image) -> None:
    code = (
        "import importlib.util as u; print(u.find_spec('tensorflow').origin, u.find_spec('numpy'))"
    )
    assert image.run(str(image.python), "-c", code).strip() == "None None"


def test_every_part_is_imported_from_the_copied_files(image: Image) -> None:
    code = f"import {', '.join(PARTS)}, json, sys; print(json.dumps(sorted(sys.modules)))"
    modules = set(json.loads(image.run(str(image.python), "-c", code)))
    assert modules >= {*PARTS, "tensorflow_serving.apis.prediction_service_pb2_grpc"}
    assert "tensorflow" not in modules


def test_the_command_line_tells_what_it_can_do(image: Image) -> None:
    assert "promote" in image.run("tfsctl", "--help")


def test_it_serves_and_writes_nothing_outside_its_data_folder(image: Image, tmp_path: Path) -> None:
    before = image.files()
    with serving(image, tmp_path / "data") as url:
        assert answer(f"{url}/livez") == 200
    assert image.files() == before
    assert (tmp_path / "data" / "admin-token").stat().st_mode & 0o777 == 0o600
