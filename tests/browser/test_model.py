"""A model's page in a real browser: it predicts, and shows a failed load in the server's words."""

from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import Visitor
from tests.browser.stand import MODEL, Stand

Shots = Callable[[Page, str], list[Path]]
PAGE = f"/fleets/default/models/{MODEL}"
NARROW: ViewportSize = {"width": 420, "height": 900}


def only_dev_1_answers(plane: Stand) -> None:
    """Have predictions computed: by the only server that is not drained, with TensorFlow."""
    plane.tfsctl.ok("server", "drain", "dev-2", "--yes")
    plane.stop("dev-1")
    plane.start("dev-1", "--no_predict=false")


def blind(plane: Stand) -> None:
    """Have the control plane not see storage, so that servers are sent what cannot load."""
    headers = {"Authorization": f"Bearer {plane.token}"}
    url = f"{plane.url}/api/v1/fleets/default"
    assert httpx.patch(url, json={"storage": "opaque"}, headers=headers).is_success


def test_a_corrupt_version_is_end_in_the_servers_words(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    page = visitor.page("/models")
    page.get_by_role("rowheader", name=MODEL).get_by_role("link").click()
    page.wait_for_url(f"**{PAGE}")
    expect(page.locator("#label-stable")).to_contain_text("answers on 2 of 2 servers")
    blind(plane)
    (plane.models / MODEL / "3" / "saved_model.pb").write_bytes(b"\xffnot it")
    plane.tfsctl("promote", MODEL, "3", "--yes")
    row = page.locator("#row-3")
    expect(row).to_contain_text("END")
    expect(row).to_contain_text("saved_model.pb")
    expect(page.locator("#changes")).to_contain_text("failed")
    expect(page.locator("#label-stable b")).to_have_text("1")
    shots(page, "model-corrupt-version")


def test_try_it_predicts_and_says_who_answered(
    visitor: Visitor, plane: Stand, shots: Shots
) -> None:
    only_dev_1_answers(plane)
    page = visitor.page(PAGE)
    expect(page.locator("#label-stable")).to_contain_text("answers on 2 of 2 servers")
    values = page.get_by_label("x")
    expect(values).to_have_value("[0.0]")
    values.fill("[2.0, 5.0]")
    page.get_by_role("button", name="Predict").click()
    answer = page.locator("#answer")
    expect(answer).to_contain_text("Version 1 answered dev-1 ·")
    expect(page.locator("#answer-body")).to_have_text("[3.0, 4.5]")
    answer.get_by_text("The same call as curl").click()
    expect(answer).to_contain_text("labels/stable:predict")
    shots(page, "model")
    values.fill("[2.0,")
    page.get_by_role("button", name="Predict").click()
    expect(answer.get_by_role("alert")).to_contain_text("x: no JSON")
    expect(values).to_have_value("[2.0,")
    page.set_viewport_size(NARROW)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    shots(page, "model-narrow")
