"""What a page weighs and how soon it shows what happened: `pytest -s` prints `goal=… value=…`.

Sizes and counts are asserted. How long things take is only told, since whatever else the machine
does counts in it. Servers are looked at as often as they are by default.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.stand import MODEL, Stand, stand
from tests.cli.living import eventually

ROUNDS: Final = 5
MOST_SENT: Final = 100_000  # bytes over the wire, with headers
MOST_IN_ALL: Final = 300_000  # bytes when unpacked
BEATS: Final = 2  # 5 s apart; the first comes at once
STREAM: Final = "/ui/events"
HEALTHY: Final = "Everything is served as it should be: 1 model."
_PAINTED: Final = """() => new Promise((done) => new PerformanceObserver((list) => {
  const [first] = list.getEntriesByName("first-contentful-paint");
  if (first) done(first.startTime);
}).observe({ type: "paint", buffered: true }))"""
# Notes in `seenAt` when a part begins to hold a text, or stops to.
_WATCH: Final = """([part, text, held]) => {
  window.seenAt = 0;
  const watcher = new MutationObserver(() => {
    if (document.querySelector(part)?.textContent.includes(text) !== held) return;
    window.seenAt = Date.now();
    watcher.disconnect();
  });
  watcher.observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("stand"), observe_interval_s=2.0) as made:
        yield made


@dataclass
class Wire:
    """What a page asked for and got, as the browser counts it."""

    asked: list[str] = field(default_factory=list)
    sent: float = 0
    unpacked: float = 0
    beats: int = 0

    def listen(self, page: Page) -> None:
        """Count from now on."""
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._requested)
        session.on("Network.dataReceived", self._received)
        session.on("Network.loadingFinished", self._finished)
        session.on("Network.eventSourceMessageReceived", self._told)
        session.send("Network.enable")

    def _requested(self, told: dict[str, Any]) -> None:
        self.asked.append(urlsplit(told["request"]["url"]).path)

    def _received(self, told: dict[str, Any]) -> None:
        self.unpacked += told["dataLength"]

    def _finished(self, told: dict[str, Any]) -> None:
        self.sent += told["encodedDataLength"]

    def _told(self, told: dict[str, Any]) -> None:
        self.beats += told["eventName"] == "beat"


def watch(page: Page, part: str, text: str, *, held: bool = True) -> None:
    """Note when a part of a page begins to hold a text, or stops to."""
    page.evaluate(_WATCH, [part, text, held])


def noted(page: Page) -> float:
    """When what was watched for was there; POSIX seconds."""
    return float(page.wait_for_function("() => window.seenAt").json_value()) / 1e3


def test_the_first_page_is_light_and_an_idle_one_has_its_stream_alone(visitor: Visitor) -> None:
    page = visitor.context.new_page()
    wire = Wire()
    wire.listen(page)
    page.goto(f"{visitor.stand.url}/")
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    print(f"\ngoal=first-contentful-paint<1s value={page.evaluate(_PAINTED) / 1e3:.3f}s")
    page.wait_for_load_state("load")
    loaded, sent, unpacked = len(wire.asked), wire.sent, wire.unpacked
    print(f"goal=first-page-over-the-wire<{MOST_SENT / 1e3:.0f}kB value={sent / 1e3:.1f}kB")
    print(f"goal=first-page-in-all<{MOST_IN_ALL / 1e3:.0f}kB value={unpacked / 1e3:.1f}kB")
    assert {"/", "/static/app.css"} <= set(wire.asked)
    assert 0 < sent < MOST_SENT
    assert 0 < unpacked < MOST_IN_ALL

    def idled() -> bool:
        page.wait_for_timeout(100)  # hears what the browser counts
        return wire.beats >= BEATS

    eventually(idled, f"{BEATS} beats")
    later = [path for path in wire.asked[loaded:] if path != STREAM]
    streams = wire.asked.count(STREAM)
    print(f"goal=idle-page-requests=0 value={len(later)} streams={streams}")
    assert later == []
    assert streams == 1


def test_what_changes_is_on_the_page_soon(visitor: Visitor, plane: Stand) -> None:
    page = visitor.page("/fleets/default")
    headers = {"Authorization": f"Bearer {plane.token}"}
    took = []
    with httpx.Client(base_url=f"{plane.url}/api/v1", headers=headers) as http:
        for turn in range(ROUNDS):
            verb = "undrain" if turn % 2 else "drain"
            watch(page, "#server-dev-1", "drained", held=verb == "drain")
            began = time.time()
            assert http.post(f"/fleets/default/servers/dev-1:{verb}").is_success
            took.append(noted(page) - began)
        http.post("/fleets/default/servers/dev-1:undrain")
    worst = max(took) * 1e3
    print(f"\ngoal=change-on-the-page<500ms value=median={median(took) * 1e3:.0f}ms", end=" ")
    print(f"worst={worst:.0f}ms n={ROUNDS} from=the-request-that-changes-it")


def test_a_killed_server_is_told_soon(visitor: Visitor, plane: Stand) -> None:
    page = visitor.page()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(HEALTHY)
    watch(page, "h1", "is not served everywhere")
    began = time.time()
    plane.stop("dev-2", kill=True)
    print(f"\ngoal=killed-server-on-the-overview<3s value={noted(page) - began:.2f}s")
    expect(page.get_by_role("row", name=MODEL)).to_contain_text("degraded")
    plane.start("dev-2")
    expect(heading).to_have_text(HEALTHY)
