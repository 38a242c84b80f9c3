"""The overview in a real browser: it says what is so, by itself, and never that an old thing is."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.stand import MODEL, PLANE, Stand

Shots = Callable[[Page, str], list[Path]]
HEALTHY = "Everything is served as it should be: 1 model."


def test_a_healthy_fleet_is_said_to_be(visitor: Visitor, shots: Shots) -> None:
    page = visitor.page()
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    expect(page.locator(".extent")).to_contain_text("2 of 2 servers answer")
    row = page.get_by_role("row", name=MODEL)
    expect(row).to_contain_text("stable → 1")
    expect(row).to_contain_text("healthy")
    expect(page.locator(".changes")).to_contain_text(f"deploy {MODEL}")
    shots(page, "overview")


def test_a_promotion_is_seen_by_itself_and_nothing_jumps(visitor: Visitor, plane: Stand) -> None:
    page = visitor.page()
    filter_ = page.get_by_role("link", name="1 all")
    filter_.focus()
    dots = page.locator(".dot").count()
    plane.tfsctl.ok("promote", MODEL, "2", "--yes")
    expect(page.get_by_role("row", name=MODEL)).to_contain_text("stable → 2")
    expect(page.locator(".dot")).to_have_count(dots + 1)
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    expect(filter_).to_be_focused()
    plane.tfsctl.ok("rollback", MODEL, "--yes")
    expect(page.locator(".dot-rolled_back")).to_have_count(1)
    expect(page.get_by_role("row", name=MODEL)).to_contain_text("stable → 1")


def test_a_killed_server_is_told_with_what_to_do_and_its_return_too(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    page = visitor.page()
    plane.stop("dev-2")
    expect(page.get_by_role("heading", level=1)).to_contain_text("is not served everywhere")
    attention = page.get_by_role("region", name="Needs attention")
    expect(attention).to_contain_text("Server does not answer dev-2")
    expect(attention).to_contain_text("tfsctl doctor dev-2 --fleet default")
    expect(page.get_by_role("status")).to_contain_text("is not served everywhere")
    shots(page, "overview-server-down")
    plane.start("dev-2")
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    expect(attention).to_contain_text("Nothing needs anybody.")


def test_a_lost_connection_is_said_and_nothing_old_is_called_healthy(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    page = visitor.page()
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    plane.stop(PLANE)
    expect(page.locator("#lost")).to_contain_text("What you see is from then")
    expect(page.locator(".old")).to_be_visible()
    shots(page, "overview-connection-lost")
    plane.serve()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator(".old")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_have_text(HEALTHY)
    visitor.expect_faults("ERR_")
