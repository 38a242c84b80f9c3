"""Fleets and servers in a real browser: who is gone is named, and who is back."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.stand import MODEL, Stand

Shots = Callable[[Page, str], list[Path]]
PAGE = "/fleets/default/servers/dev-2"


def test_a_killed_server_is_named_on_its_page_and_recovers_by_itself(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    overview, page = visitor.page(), visitor.page(PAGE)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("dev-2: ready")
    expect(page.locator("#server")).to_contain_text("It runs the config that it should")
    expect(page.locator("#doctor")).to_contain_text("Reachability")
    shots(page, "server")
    plane.stop("dev-2")
    expect(heading).to_have_text("dev-2: unreachable")
    attention = overview.get_by_role("region", name="Needs attention")
    expect(attention.get_by_role("link", name="dev-2")).to_have_attribute("href", PAGE)
    expect(page.locator("#server")).to_contain_text("What ran there when it was seen last")
    expect(page.locator("#doctor")).to_contain_text("1 problem")
    green = page.locator("#server > section").locator(".mark-AVAILABLE, .mark-healthy")
    expect(green).to_have_count(0)
    shots(page, "server-down")
    plane.start("dev-2")
    expect(heading).to_have_text("dev-2: ready")
    expect(page.get_by_role("row", name=MODEL)).to_contain_text("1 AVAILABLE")
    expect(attention).to_contain_text("Nothing needs anybody.")


def test_a_server_is_added_drained_and_removed(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    plane.start("dev-3")
    page = visitor.page("/fleets/default")
    page.get_by_label("gRPC address").fill("nowhere")
    page.get_by_role("button", name="Add to default").click()
    expect(page.get_by_role("alert").last).to_contain_text("address:")
    visitor.expect_faults("422")
    page.get_by_label("gRPC address").fill(f"127.0.0.1:{plane.ports['dev-3']}")
    page.get_by_label("Name", exact=True).fill("dev-3")
    page.get_by_label("Take it over").check()
    page.get_by_role("button", name="Add to default").click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("dev-3: ready")
    expect(page.get_by_role("row", name=MODEL)).to_contain_text("1 AVAILABLE")
    page.get_by_role("link", name="Drain…").click()
    expect(heading).to_have_text("Drain dev-3?")
    page.get_by_label("Reason").fill("new disk")
    shots(page, "server-drain")
    page.get_by_role("button", name="Drain dev-3").click()
    expect(page.locator("#server")).to_contain_text("new disk")
    page.get_by_role("link", name="Remove…").click()
    page.get_by_role("button", name="Remove dev-3").click()
    expect(heading).to_have_text("default")
    expect(page.locator("#fleet")).not_to_contain_text("dev-3")
    page.get_by_role("link", name="History", exact=True).last.click()
    expect(page.locator("#events")).to_contain_text("Server drained dev-3")
    expect(page.locator("#events")).to_contain_text("new disk")
    plane.stop("dev-3")
