"""`tfsctl up` as in the quick start: real models, promoted and rolled back, then started again."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import chromium
from tests.cli.living import ROOT, Tfsctl, eventually, free_port

READY_S = 120.0
SENTIMENT = '{"inputs": {"words": [["很", "喜欢"], ["很", "垃圾"]], "nwords": [2, 2]}}'


@dataclass(frozen=True, slots=True)
class Up:
    process: "subprocess.Popen[str]"
    said: Path
    url: str
    tfsctl: Tfsctl

    def predict(self) -> Any:
        """Ask half_plus_two by label over plain HTTP, as curl does."""
        where = f"{self.url}/api/v1/fleets/default/models/half_plus_two/labels/stable:predict"
        body = b'{"instances": [1.0, 2.0]}'
        with urllib.request.urlopen(where, body, timeout=10) as answer:
            return json.loads(answer.read())["predictions"]

    def page(self) -> str:
        """The first page, as somebody's browser gets it who has no token."""
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text


@contextmanager
def up(home: Path, port: int) -> Iterator[Up]:
    said = home / "said"
    command = [sys.executable, "-m", "control_plane", "up", "--servers", "2"]
    options = ["--data-dir", str(home / "data"), "--port", str(port)]
    with said.open("w") as out:
        process = subprocess.Popen(
            command + options, cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL, text=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(
            lambda: "ready: " in said.read_text() or process.poll() is not None, "ready", READY_S
        )
        assert process.poll() is None, said.read_text()
        yield Up(process, said, url, Tfsctl({**os.environ, "TFSCTL_SERVER": url}))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def by_hand(running: Up) -> None:
    """Promote and roll back in a browser, as somebody would who never saw the page before."""
    with chromium() as browser:
        page = browser.new_context(locale="en-US").new_page()
        title, drawer = page.get_by_role("heading", level=1), page.get_by_role("dialog")
        page.goto(running.url)
        page.get_by_role("link", name="half_plus_two").first.click()
        page.get_by_role("link", name="Promote… stable").click()
        drawer.get_by_label("To version").select_option("3")
        drawer.get_by_role("button", name="Move stable of half_plus_two from 1 to 3").click()
        expect(title).to_have_text("promote half_plus_two: succeeded", timeout=20_000)
        assert running.predict() == [202.5, 203.0]
        page.get_by_role("link", name="Roll back stable…").click()
        drawer.get_by_role("button", name="Move stable of half_plus_two from 3 to 1").click()
        expect(title).to_have_text("roll back half_plus_two: succeeded", timeout=20_000)
        assert running.predict() == [2.5, 3.0]


def test_the_quick_start_works_and_a_second_start_goes_on_from_it(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path, port) as running:
        tfsctl = running.tfsctl
        assert running.predict() == [2.5, 3.0]
        for model in ("half_plus_two", "sentiment"):
            assert f'href="/fleets/default/models/{model}"' in running.page()
        tfsctl.ok("promote", "half_plus_two", "2")
        assert running.predict() == [102.5, 103.0]
        tfsctl.ok("rollback", "half_plus_two")
        assert running.predict() == [2.5, 3.0]
        by_hand(running)
        tfsctl.ok("promote", "half_plus_two", "3")
        said = tfsctl.ok("predict", "sentiment", "--label", "stable", SENTIMENT)
        assert said["outputs"]["labels"] == ["POS", "NEG"]
        first_pid = running.process.pid
        assert f"tfsctl --server {running.url} promote half_plus_two 2" in running.said.read_text()
    assert running.process.returncode == 0
    assert not _alive_with(tmp_path)
    with up(tmp_path, port) as again:
        assert again.process.pid != first_pid
        assert again.predict() == [202.5, 203.0]
        kinds = [row["kind"] for row in again.tfsctl.ok("history", "half_plus_two")]
        assert kinds == ["promote", "rollback", "promote", "rollback", "promote", "deploy"]
    assert not _alive_with(tmp_path)


def _alive_with(folder: Path) -> list[str]:
    """Which processes have the folder on their command line."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = one.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(command.decode())
    return found
