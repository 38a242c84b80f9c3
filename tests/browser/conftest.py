"""A stand and a browser for each file of tests; every page is watched for errors of its console.

Screenshots go to the folder `TEST_ARTIFACTS`, by default one in the system's temporary folder.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.browser.stand import Stand, stand

ARTIFACTS = Path(
    os.environ.get("TEST_ARTIFACTS", Path(tempfile.gettempdir(), "control-plane-screenshots"))
)
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PATIENCE_MS = 20_000


@dataclass
class Visitor:
    """Pages of one browser profile, and what went wrong on them."""

    context: BrowserContext
    stand: Stand
    faults: list[str] = field(default_factory=list)

    def page(self, path: str = "/") -> Page:
        """Open a page of the dashboard."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(f"{self.stand.url}{path}")
        return page

    def log_in(self, token: str = "") -> Page:
        """Log in, as the first admin unless a token is given, and return the overview."""
        page = self.page("/login")
        page.get_by_label("API token").fill(token or self.stand.token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.stand.url}/")
        return page

    def expect_faults(self, part: str, least: int = 1) -> None:
        """Take faults that a test provoked out; there must be some, unless none may come too."""
        left = [one for one in self.faults if part not in one]
        assert len(self.faults) - len(left) >= least, f"nothing in the console about {part!r}"
        self.faults[:] = left

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("stand")) as made:
        yield made


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, until the block ends."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no chromium; `make browser-deps` installs it"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def kept_login(browser: Browser, plane: Stand) -> Any:
    """The cookies of a browser in which the first admin logged in."""
    context = browser.new_context()
    Visitor(context, plane).log_in()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def stranger(browser: Browser, plane: Stand) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors who are not logged in, with options of a browser's context.

    At the end no console may have an error: under our CSP that is what a breach of it is.
    """
    made: list[Visitor] = []

    def visitor(**options: Any) -> Visitor:
        options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}
        made.append(Visitor(browser.new_context(**options), plane))
        return made[-1]

    yield visitor
    for one in made:
        one.context.close()
    assert [fault for one in made for fault in one.faults] == []


@pytest.fixture
def visitor(stranger: Callable[..., Visitor], kept_login: Any) -> Visitor:
    """The first admin, logged in."""
    return stranger(storage_state=kept_login)


@pytest.fixture
def shots() -> Callable[[Page, str], list[Path]]:
    """Takes a picture of a page in both themes, under a name of its own."""

    def take(page: Page, name: str) -> list[Path]:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        files = []
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            file = ARTIFACTS / f"{name}-{theme}.png"
            page.screenshot(path=file, full_page=True)
            files.append(file)
        page.emulate_media(color_scheme=None)
        return files

    return take
