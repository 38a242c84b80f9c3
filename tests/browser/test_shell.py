"""What surrounds every page, in a real browser: login, language, colours, keys."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.stand import Stand

Strangers = Callable[..., Visitor]


def test_a_token_opens_a_session_that_the_logout_ends(stranger: Strangers) -> None:
    somebody = stranger()
    page = somebody.page("/?state=healthy")
    expect(page).to_have_title("Log in · TF Serving control plane")
    expect(page.get_by_label("API token")).to_be_focused()
    page.keyboard.type("cp_nobody_knows")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("was revoked or has expired")
    somebody.expect_faults("401")
    page.get_by_label("API token").fill(somebody.stand.token)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{somebody.stand.url}/?state=healthy")
    (cookie,) = somebody.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_page_whose_session_ends_asks_to_log_in_again(stranger: Strangers, plane: Stand) -> None:
    token = plane.token_of("leaver", "viewer")
    leaver = stranger()
    page = leaver.log_in(token)
    plane.tfsctl.ok("token", "revoke", "leaver", "--yes")
    page.wait_for_url("**/login?next=%2F")
    leaver.expect_faults("401", least=0)  # the stream's end or a part of the page told it first


def test_the_language_is_the_browsers_and_can_be_switched(
    stranger: Strangers, plane: Stand
) -> None:
    somebody = stranger(locale="zh-CN")
    page = somebody.page()
    page.get_by_label("API 令牌").fill(plane.token)
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "一切正常：1 个模型均按预期提供服务。"
    )
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Everything is served")
    assert page.evaluate("document.documentElement.lang") == "en"


def test_colours_follow_the_system_until_they_are_chosen(visitor: Visitor) -> None:
    page = visitor.page()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light


def test_keys_are_listed_and_lead_somewhere(visitor: Visitor) -> None:
    page = visitor.page("/?state=degraded")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Overview")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url(f"{visitor.stand.url}/")


def test_times_are_utc_and_local_on_hover(stranger: Strangers, plane: Stand) -> None:
    page = stranger(timezone_id="Asia/Shanghai").log_in(plane.token)
    time = page.locator("#models time").first
    expect(time).to_contain_text("UTC")
    time.hover()
    hour = int((time.get_attribute("datetime") or "")[11:13])
    assert f"{(hour + 8) % 24:02d}:" in (time.get_attribute("title") or "")


def test_everything_to_press_is_big_enough_and_shows_its_focus(visitor: Visitor) -> None:
    page = visitor.page()
    small = page.evaluate(
        """[...document.querySelectorAll("button, input, .filters a, .top nav a, .brand")]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 44)
        .map((one) => one.outerHTML)"""
    )
    assert small == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_without_scripts_the_pages_work(stranger: Strangers, plane: Stand) -> None:
    page = stranger(java_script_enabled=False).log_in(plane.token)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Everything is served")
    page.get_by_role("link", name="0 degraded").click()
    expect(page.locator("#models")).to_contain_text("No model is degraded now.")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#models")).to_contain_text("降级")
