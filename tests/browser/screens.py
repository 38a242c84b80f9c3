"""Takes the pictures of `docs/dashboard.md` again: `make screens`.

They show a control plane with a past: promotions, a rollback, a version that does not load, and a
careful rollout that is under way.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import httpx
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import Visitor, chromium
from tests.browser.png import tighter
from tests.browser.stand import MODEL, Stand, stand
from tests.cli.living import MODELS, ROOT

FOLDER: Final = ROOT / "docs" / "screens"
HOME: Final = Path(tempfile.gettempdir(), "control-plane-example")  # base paths on pictures
WINDOW: Final[ViewportSize] = {"width": 1280, "height": 880}
OTHER: Final = "sentiment"
CAREFUL: Final = """
description: one server first, and somebody looks at it
steps:
- load
- canary: {label: canary, servers: 50%}
- bake: {seconds: 900}
- approve: {count: 1}
- promote: {waves: [1, 100%]}
- retire
"""
Theme = Literal["light", "dark"]


def tell(plane: Stand) -> str:
    """Give a control plane a past; return the rollout that failed."""
    tfsctl = plane.tfsctl
    plane.start("dev-3")
    address = f"127.0.0.1:{plane.ports['dev-3']}"
    tfsctl.ok("server", "add", address, "--name", "dev-3", "--take-over")
    for number in ("1", "2"):
        shutil.copytree(MODELS / OTHER / "1", plane.models / OTHER / number)
    tfsctl.ok("model", "add", OTHER, "--base-path", str(plane.models / OTHER))
    tfsctl.ok("version", "scan", OTHER)
    tfsctl.ok("deploy", OTHER, "--versions", "1", "--label", "stable=1", "--yes")
    describe(plane)
    tfsctl.ok("promote", MODEL, "2", "--yes", "--reason", "recall is 2 % better on last week")
    tfsctl.ok("rollback", MODEL, "--yes", "--reason", "latency doubled for long inputs")
    tfsctl.ok("promote", MODEL, "2", "--yes", "--reason", "with the faster tokenizer")
    shutil.copytree(plane.models / MODEL / "3", plane.models / MODEL / "4")
    tfsctl.ok("version", "scan", MODEL)
    (plane.models / MODEL / "4" / "saved_model.pb").write_bytes(b"\xffcut off")
    tfsctl("promote", MODEL, "4", "--yes", "--reason", "nightly training of 20 November")
    failed: str = tfsctl.ok("rollout", "list")[0]["id"]
    careful = plane.home / "careful.yaml"
    careful.write_text(CAREFUL)
    tfsctl.ok("strategy", "put", str(careful))
    tfsctl.ok("promote", OTHER, "2", "--yes", "--strategy", "careful", "--no-wait")
    return failed


def describe(plane: Stand) -> None:
    """Write what people write about models and versions."""
    headers = {"Authorization": f"Bearer {plane.token}"}
    with httpx.Client(base_url=f"{plane.url}/api/v1/models", headers=headers) as http:

        def change(path: str, **words: Any) -> None:
            http.patch(path, json=words).raise_for_status()

        change(MODEL, description="Half of x, plus two: the example of everybody.", owner="ranking")
        change(OTHER, description="Whether a sentence in Chinese likes something.", owner="text")
        for number, recall in ((1, 0.902), (2, 0.921), (3, 0.934)):
            metrics = {"recall": recall, "loss": round(1 - recall, 3)}
            tags = {"data": f"2026-11-{10 + number}"}
            change(f"{MODEL}/versions/{number}", metrics=metrics, tags=tags, source="nightly")


def pictures(failed: str) -> dict[str, tuple[str, Theme]]:
    """Return the path and the colours of each picture by its name."""
    page = f"/fleets/default/models/{MODEL}"
    return {
        "overview": ("/", "light"),
        "model": (page, "light"),
        "promote": (page, "light"),
        "rollout": (f"/rollouts/{failed}", "dark"),
        "fleet": ("/fleets/default", "light"),
        "server": ("/fleets/default/servers/dev-1", "dark"),
        "history": ("/history", "light"),
        "compare": (f"/compare?model={MODEL}&before=2&after=3", "light"),
    }


def open_plan(page: Page) -> None:
    """Open the drawer with the plan of a promotion."""
    page.get_by_role("link", name="Promote… stable").click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("To version").select_option("3")
    drawer.get_by_role("button", name=f"Move stable of {MODEL} from 2 to 3").wait_for()
    drawer.get_by_label("Reason").fill("recall is 1.3 % better")


def await_bake(page: Page) -> None:
    """Wait until the careful rollout has canaries, and all servers have settled."""
    page.get_by_text("step 3 of 7: bake").wait_for()
    page.get_by_text("being brought there").first.wait_for(state="detached")


BEFORE: Final[dict[str, Callable[[Page], None]]] = {"overview": await_bake, "promote": open_plan}


def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    HOME.mkdir()
    try:
        with stand(HOME) as plane, chromium() as browser:
            failed = tell(plane)
            for name, (path, theme) in pictures(failed).items():
                context = browser.new_context(
                    viewport=WINDOW, color_scheme=theme, locale="en-GB", reduced_motion="reduce"
                )
                page = Visitor(context, plane).log_in()
                page.goto(f"{plane.url}{path}")
                page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
                if name in BEFORE:
                    BEFORE[name](page)
                file = FOLDER / f"{name}.png"
                file.write_bytes(tighter(page.screenshot()))
                sys.stdout.write(f"{file.relative_to(ROOT)} {file.stat().st_size // 1000} kB\n")
                context.close()
    finally:
        shutil.rmtree(HOME)


if __name__ == "__main__":
    main()
