"""The control plane is told to end while somebody listens, waits or asks for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cli.living import MODELS, eventually


@contextmanager
def serving(
    home: Path, **environment: str
) -> Iterator[tuple["subprocess.Popen[bytes]", Path, str]]:
    """A control plane without servers; its process, its log and its URL."""
    log = home / "log"
    command = [sys.executable, "-m", "control_plane", "serve", "--auth", "off", "--port", "0"]
    with log.open("wb") as out:
        running = subprocess.Popen(
            [*command, "--data-dir", str(home)],
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
        )
    try:
        eventually(lambda: '"url"' in log.read_text(), "serves")
        said = next(line for line in log.read_text().splitlines() if '"url"' in line)
        yield running, log, json.loads(said)["url"]
    finally:
        running.kill()
        running.wait(10)


def test_an_open_event_stream_ends_in_order_when_the_control_plane_ends(tmp_path: Path) -> None:
    with (
        serving(tmp_path) as (running, log, url),
        httpx.stream("GET", f"{url}/api/v1/events:stream", timeout=20) as stream,
    ):
        chunks = stream.iter_bytes()
        assert next(chunks) == b": following\n\n"
        running.send_signal(signal.SIGTERM)
        assert b"event" not in b"".join(chunks)  # a stream cut short would raise
        assert running.wait(20) == 0
        assert "graceful shutdown exceeded" not in log.read_text()
        assert "Traceback" not in log.read_text()


def test_a_held_answer_comes_when_the_control_plane_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as (running, log, url), httpx.Client(base_url=f"{url}/api/v1") as http:
        body = {"name": "m", "base_path": str(MODELS / "half_plus_two")}
        assert http.post("/models", json=body).is_success
        assert http.post("/models/m/versions:scan").is_success
        server = {"address": "127.0.0.1:1", "name": "silent", "take_over": True}
        assert http.post("/fleets/default/servers", json=server).is_success
        with ThreadPoolExecutor(1) as threads:
            wanted = {"versions": [1], "labels": {"stable": 1}, "force": True}
            headers = {"Prefer": "wait=60"}
            path = "/fleets/default/deployments/m"
            held = threads.submit(http.put, path, json=wanted, headers=headers, timeout=60)
            eventually(lambda: bool(_rollouts(url)), "a rollout")
            running.send_signal(signal.SIGTERM)
            assert held.result().status_code == 202
        assert running.wait(20) == 0
        assert "graceful shutdown exceeded" not in log.read_text()


def _rollouts(url: str) -> list[object]:
    return list(httpx.get(f"{url}/api/v1/rollouts").json()["items"])


def test_the_shutdowns_random_key_is_in_a_file_of_ours_alone_and_in_no_log(tmp_path: Path) -> None:
    with serving(tmp_path, TFSCTL_SHUTDOWN="on") as (running, log, url):
        file = tmp_path / "shutdown-key"
        key = file.read_text().strip()
        assert file.stat().st_mode & 0o777 == 0o600
        path = f"{url}/api/v1/admin:shutdown"
        assert httpx.post(path).status_code == 401
        answer = httpx.post(path, headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, running.wait(20)) == (202, 0)
        assert key not in log.read_text()


def test_the_shutdowns_key_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "chosen"
    file.write_text("a key of our own\n")
    with serving(tmp_path, TFSCTL_SHUTDOWN_KEY_FILE=str(file)) as (running, _, url):
        headers = {"X-Shutdown-Key": "a key of our own"}
        assert httpx.post(f"{url}/api/v1/admin:shutdown", headers=headers).status_code == 202
        assert running.wait(20) == 0
