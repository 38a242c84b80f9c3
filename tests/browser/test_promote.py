"""Promote and roll back in a real browser: the plan first, then what goes on; also by keys."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Page, expect

from control_plane.serving import stubs
from tests.browser.conftest import Visitor
from tests.browser.stand import MODEL, SERVERS, Stand
from tests.browser.test_every_place import violations

Shots = Callable[[Page, str], list[Path]]
PLACE = f"/fleets/default/models/{MODEL}"


@pytest.fixture(autouse=True)
def _from_one(plane: Stand) -> None:
    """Version 1 is stable on both servers, and nothing else is served."""
    plane.tfsctl.ok("deploy", MODEL, "--versions", "1", "--label", "stable=1", "--force", "--yes")


def answered_by(plane: Stand, label: str = "stable") -> list[int]:
    """The versions that answer predictions by label, one for each server."""
    found = []
    for server in SERVERS:
        asked = stubs.PredictRequest()
        asked.model_spec.name, asked.model_spec.version_label = MODEL, label
        asked.inputs["x"].CopyFrom(stubs.TensorProto(dtype=1, float_val=[1.0]))
        with grpc.insecure_channel(f"127.0.0.1:{plane.ports[server]}") as channel:
            answer = stubs.PredictionServiceStub(channel).Predict(asked, timeout=10)
        found.append(int(answer.model_spec.version.value))
    return found


def title(page: Page, told: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(told)


def test_a_promotion_shows_its_plan_moves_the_label_and_is_taken_back(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    page = visitor.page(PLACE)
    page.get_by_role("link", name="Promote… stable").click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("Reason").fill("it is better")
    drawer.get_by_label("To version").select_option("2")
    act = drawer.get_by_role("button", name=f"Move stable of {MODEL} from 1 to 2 on 2 servers")
    expect(act).to_be_visible()
    expect(drawer.locator(".diff ins").first).to_contain_text("+")
    assert violations(page) == []
    shots(page, "plan-drawer")
    assert answered_by(plane) == [1, 1]
    act.click()
    page.wait_for_url("**/rollouts/*")
    title(page, f"promote {MODEL}: succeeded")
    expect(page.locator(".step-succeeded")).to_have_count(3)
    expect(page.locator(".quote")).to_have_text("it is better")
    assert answered_by(plane) == [2, 2]
    shots(page, "rollout")

    opener = page.get_by_role("link", name="Roll back stable…")
    opener.click()
    expect(drawer.get_by_role("heading", level=2).first).to_be_focused()
    drawer.get_by_label("Reason").fill("it is worse")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    expect(drawer.get_by_label("Reason")).to_have_value("it is worse")
    drawer.get_by_role("button", name=f"Move stable of {MODEL} from 2 to 1 on 2 servers").click()
    title(page, f"roll back {MODEL}: succeeded")
    expect(page.locator(".quote")).to_have_text("it is worse")
    assert answered_by(plane) == [1, 1]


def test_the_keyboard_alone_promotes(visitor: Visitor, plane: Stand, shots: Shots) -> None:
    page = visitor.page(f"{PLACE}/promote?version=3")
    act = page.get_by_role("button", name=f"Move stable of {MODEL} from 1 to 3 on 2 servers")
    expect(act).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 2000})
    shots(page, "plan")
    for _ in range(60):
        page.keyboard.press("Tab")
        if act.evaluate("(one) => one === document.activeElement"):
            break
    expect(act).to_be_focused()
    page.keyboard.press("Enter")
    title(page, f"promote {MODEL}: succeeded")
    assert answered_by(plane) == [3, 3]
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/rollouts")
    newest = page.get_by_role("row").nth(1)
    expect(newest).to_contain_text(f"promote {MODEL}")
    shots(page, "rollouts")


def test_without_javascript_it_is_a_page_and_a_form(
    stranger: Callable[..., Visitor], kept_login: Any, plane: Stand
) -> None:
    somebody = stranger(storage_state=kept_login, java_script_enabled=False)
    page = somebody.page(PLACE)
    page.get_by_role("link", name="Promote… stable").click()
    page.get_by_label("Reason").fill("by hand")
    page.get_by_label("To version").select_option("2")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_label("Reason")).to_have_value("by hand")
    page.get_by_role("button", name=f"Move stable of {MODEL} from 1 to 2 on 2 servers").click()
    page.wait_for_url("**/rollouts/*")
    expect(page.locator(".quote")).to_have_text("by hand")
    plane.tfsctl.ok("status", MODEL)
    page.reload()
    title(page, f"promote {MODEL}: succeeded")
    assert answered_by(plane) == [2, 2]


def test_a_plan_that_is_old_is_not_run_in_the_drawer_but_shown_anew(
    visitor: Visitor, plane: Stand
) -> None:
    id_ = plane.tfsctl.ok("promote", MODEL, "3", "--yes", "-o", "json")["id"]
    page = visitor.page(f"/rollouts/{id_}")
    page.get_by_role("link", name="Roll back stable…").click()
    drawer = page.get_by_role("dialog")
    act = drawer.get_by_role("button", name=f"Move stable of {MODEL} from 3 to 1 on 2 servers")
    expect(act).to_be_visible()
    plane.tfsctl.ok("promote", MODEL, "2", "--label", "canary", "--yes")
    act.click()
    expect(drawer.get_by_role("alert")).to_contain_text("The plan is not the one that you saw")
    visitor.expect_faults("412")
    assert answered_by(plane) == [3, 3]
    act.click()
    title(page, f"roll back {MODEL}: succeeded")
    assert answered_by(plane) == [1, 1]


def test_a_corrupt_version_fails_in_the_servers_words_and_says_what_to_do(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    shutil.copytree(plane.models / MODEL / "3", plane.models / MODEL / "4")
    plane.tfsctl.ok("version", "scan", MODEL)
    (plane.models / MODEL / "4" / "saved_model.pb").write_bytes(b"\xffnot it")
    page = visitor.page(f"{PLACE}/promote?version=4")
    page.get_by_role("button", name=f"Move stable of {MODEL} from 1 to 4 on 2 servers").click()
    title(page, f"promote {MODEL}: failed")
    why = page.get_by_role("region", name="How it ended")
    expect(why.locator(".words")).to_contain_text("saved_model.pb")
    expect(why).to_contain_text("No label had moved: callers get what they got before.")
    expect(why.get_by_role("link", name="Try again…")).to_be_visible()
    expect(why.get_by_role("button", name="Pause")).to_be_disabled()
    assert answered_by(plane) == [1, 1]
    assert violations(page) == []
    shots(page, "rollout-failed")
