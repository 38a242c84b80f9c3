"""Every place there is, in both colours: no axe violation, no error in a console, nothing too wide.

Pictures of all go to the artifacts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import ARTIFACTS, THEMES, Visitor
from tests.browser.stand import MODEL, Stand
from tests.web.addresses import pages

Shots = Callable[[Page, str], list[Path]]
AXE = (Path(__file__).parent / "vendor/axe-core/axe.min.js").read_text()
NARROW: ViewportSize = {"width": 390, "height": 844}
STRANGE = "<img src=x onerror=alert(1)>\u202e𝕏" + "long" * 1_000
_RUN = """async (only) => {
  const found = await axe.run(document, only ? { runOnly: { type: "rule", values: [only] } } : {});
  return found.violations.map((one) => [one.id, one.help, one.nodes.map((node) => node.html)]);
}"""


@pytest.fixture(scope="module")
def everywhere(plane: Stand) -> dict[str, str]:
    """The addresses of all pages of a control plane that has something to tell."""
    tfsctl = plane.tfsctl
    tfsctl.ok("promote", MODEL, "2", "--yes", "--reason", "the new one")
    newest = tfsctl.ok("rollout", "list")[0]["id"]
    return pages(fleet="default", server="dev-1", rollout=newest)


def show(page: Page, url: str) -> None:
    """Go to a page that must be there."""
    answer = page.goto(url)
    assert answer is not None
    assert answer.ok, f"{url}: {answer.status}: {answer.text()[:300]}"


def violations(page: Page) -> list[Any]:
    """What axe finds in the light, and of contrasts in the dark."""
    page.evaluate(f"() => {{ {AXE} }}")
    found = []
    for theme, only in zip(THEMES, ("", "color-contrast"), strict=True):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found += [(theme, *one) for one in page.evaluate(_RUN, only)]
    return found


def test_every_place_can_be_used_by_everybody(
    visitor: Visitor, everywhere: dict[str, str], shots: Shots
) -> None:
    page = visitor.page()
    wrong = {}
    for name, path in everywhere.items():
        show(page, f"{visitor.stand.url}{path}")
        page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        if found := violations(page):
            wrong[name] = found
        shots(page, f"place-{name}")
    assert wrong == {}


def describe(plane: Stand, text: str) -> None:
    """Change the words about the model and the fleet."""
    headers = {"Authorization": f"Bearer {plane.token}"}
    for path in (f"models/{MODEL}", "fleets/default"):
        body = {"description": text}
        answer = httpx.patch(f"{plane.url}/api/v1/{path}", json=body, headers=headers)
        assert answer.is_success, answer.text


@pytest.fixture
def strange_words(plane: Stand) -> Iterator[None]:
    """Somebody wrote as much as fits, without a space, and marks that turn the direction."""
    describe(plane, STRANGE)
    plane.tfsctl.ok("server", "drain", "dev-1", "--reason", STRANGE[:1_000])
    yield
    plane.tfsctl.ok("server", "undrain", "dev-1")
    describe(plane, "")


@pytest.mark.usefixtures("strange_words")
def test_no_place_is_wider_than_a_narrow_window(
    visitor: Visitor, everywhere: dict[str, str]
) -> None:
    page = visitor.page()
    page.set_viewport_size(NARROW)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    wide = {}
    for name, path in everywhere.items():
        show(page, f"{visitor.stand.url}{path}")
        page.screenshot(path=ARTIFACTS / f"narrow-{name}.png", full_page=True)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide[name] = page.evaluate(
                """() => [...document.querySelectorAll("main *, header *, footer *")]
                .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
                .filter((one) => !one.closest(".scroll, pre, .command"))
                .slice(0, 3).map((one) => one.outerHTML.slice(0, 200))"""
            )
    assert wide == {}
