"""The control plane is told to end while somebody listens."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.cli.living import eventually


@contextmanager
def serving(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path, str]]:
    """A control plane without servers; its process, its log and its URL."""
    log = home / "log"
    command = [sys.executable, "-m", "control_plane", "serve", "--auth", "off", "--port", "0"]
    with log.open("wb") as out:
        running = subprocess.Popen([*command, "--data-dir", str(home)], stdout=out, stderr=out)
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
