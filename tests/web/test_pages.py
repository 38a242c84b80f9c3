"""What holds for every page: headers, languages, colours, static files, problems."""

import gzip
import subprocess
import sys

import pytest

from control_plane.services.access import Role
from control_plane.web.door import PLACES
from control_plane.web.language import chosen
from control_plane.web.pages import SCREENS
from tests.web.conftest import Web, members, said

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}


def test_every_place_lies_behind_the_door() -> None:
    firsts = {place.path.lstrip("/").partition("/")[0] for one in SCREENS for place in one.PLACES}
    assert firsts <= PLACES


def test_names_of_places_are_their_own() -> None:
    names = [place.name for one in SCREENS for place in one.PLACES]
    assert len(names) == len(set(names))


def test_who_shows_no_page_loads_no_templates() -> None:
    code = (
        "import sys; from control_plane import bootstrap; "
        "loaded = {'control_plane.web.pages', 'jinja2'} & sys.modules.keys(); "
        "sys.exit(bool(loaded))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", ["/", "/ui/overview", "/ui/nowhere"])
async def test_pages_allow_no_inline_script_or_style_and_no_frames(web: Web, path: str) -> None:
    headers = (await web.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


async def test_what_is_no_place_of_the_dashboard_is_the_apis_to_answer(web: Web) -> None:
    for path in ("/elsewhere", "/api/v1/nothing"):
        answer = await web.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_page_that_is_not_there_says_so_and_leads_on(guarded: Web) -> None:
    await guarded.log_in("ada", Role.VIEWER)
    answer = await guarded.get("/ui/<b>nowhere")
    assert answer.status_code == 404
    assert "there is no page /ui/<b>nowhere" in said(answer.text)
    assert "<b>nowhere" not in answer.text
    assert 'href="/"' in answer.text


@pytest.mark.parametrize(
    ("cookie", "accept", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "de;q=0.9, zh-TW;q=0.4, en;q=0.5", "en"),
        ("", "fr", "en"),
        ("", "zh;q=0, en;q=0.1", "en"),
        ("", "zh;q=nonsense", "en"),
        ("zh", "en", "zh"),
        ("xx", "zh", "zh"),
    ],
)
def test_the_language_is_the_chosen_one_else_the_browsers(
    cookie: str, accept: str, language: str
) -> None:
    assert chosen(cookie, accept) == language


async def test_language_and_colours_are_chosen_and_kept(web: Web) -> None:
    answer = await web.get("/", **CHINESE)
    assert '<html lang="zh-Hans" data-theme="auto">' in answer.text
    assert "总览" in answer.text
    chose = await web.send("/ui/preferences", {"language": "en", "next": "/?state=rolling"})
    assert (chose.status_code, chose.headers["location"]) == (303, "/?state=rolling")
    assert "httponly" in members(chose)
    await web.send("/ui/preferences", {"theme": "dark"})
    answer = await web.get("/", **CHINESE)
    assert '<html lang="en" data-theme="dark">' in answer.text


async def test_a_choice_that_does_not_exist_is_refused(web: Web) -> None:
    answer = await web.send("/ui/preferences", {"theme": "pink"})
    assert answer.status_code == 422
    assert "one of auto, light, dark" in answer.text


async def test_static_files_are_kept_by_browsers_for_good_under_their_own_address(web: Web) -> None:
    page = await web.get("/")
    address = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    styled = await web.get(address, **{"Accept-Encoding": "gzip"})
    assert styled.headers["content-type"] == "text/css; charset=utf-8"
    assert styled.headers["content-encoding"] == "gzip"
    assert "immutable" in styled.headers["cache-control"]
    plain = await web.get("/static/app.css", **{"Accept-Encoding": "identity"})
    assert plain.text == styled.text
    assert plain.headers["cache-control"] == "no-cache"
    known = await web.get("/static/app.css", **{"If-None-Match": plain.headers["etag"]})
    assert known.status_code == 304


@pytest.mark.parametrize("name", ["ghost.js", "vendor/SHA256SUMS", "vendor", "%2e%2e/templates/a"])
async def test_nothing_else_is_served(web: Web, name: str) -> None:
    assert (await web.get(f"/static/{name}")).status_code == 404


async def test_the_first_page_is_light(web: Web) -> None:
    """Compressed below 100 kB, 300 kB in all; the rest is for pages with plots."""
    page = (await web.get("/", **{"Accept-Encoding": "gzip"})).content
    sent = [len(gzip.compress(page)), len(page)]
    for address in _addresses(page.decode()):
        content = (await web.get(address)).content
        sent = [sent[0] + len(gzip.compress(content, 9)), sent[1] + len(content)]
    print("first page, bytes compressed and in all:", *sent)
    assert sent[0] < 100_000
    assert sent[1] < 300_000


def _addresses(page: str) -> list[str]:
    found = [part.partition('"')[0] for part in page.split('="')[1:]]
    return [one for one in found if one.startswith("/static/")]
