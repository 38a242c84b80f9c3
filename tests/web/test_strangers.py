"""Words of people and servers may hold anything: every page shows them as text, in both languages.

Names are restricted; descriptions, reasons, tags, errors, and labels that others wrote are not.
"""

from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from control_plane.domain import record
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.rollout import Phase
from control_plane.domain.state import State
from control_plane.store import fleets, leases
from tests.web.addresses import pages
from tests.web.conftest import Web, said
from tests.web.test_overview import serve, settle

CORPUS = (
    "<x-evil>plain",
    "</title></textarea></pre></script><x-evil>closing",
    '"><x-evil onclick="steal()">double',
    "'><x-evil onload='steal()'>single",
    '" autofocus onfocus="steal()" x="attribute',
    "<img src=x onerror=steal()>image",
    "javascript:steal()//link",
    "{{ 7919 * 7907 }}{% raw %}template",
    "&lt;x-evil&gt;&#60;x-evil&#62;entities",
    "\u202eright to left\u2066\u200f",
    "𝕏🧪 four bytes",
    "<!--<x-evil>--><![CDATA[<x-evil>]]>comments",
)
ALL = " ".join(CORPUS)


class Markup(HTMLParser):
    """What of a page is markup: elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def faults(self) -> Iterator[str]:
        """Yield what no page of ours has."""
        for tag, given in self.found:
            if tag in ("x-evil", "img", "iframe", "object", "style") or tag.startswith("x-"):
                yield f"<{tag}>"
            if tag == "script" and not str(given.get("src", "")).startswith("/static/"):
                yield "inline script"
            for name, value in given.items():
                if name.startswith("on") or name in ("style", "hx-on", "hx-vals"):
                    yield f"<{tag} {name}>"
                if name in ("href", "src", "action", "hx-get") and not str(value).startswith(
                    ("/", "#", "?")
                ):
                    yield f"<{tag} {name}={value}>"


async def strange(web: Web) -> str:
    """A control plane in which everybody wrote what the corpus holds; returns a rollout's id."""
    api = web.api
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)
    rest = {"description": ALL, "tags": {"by": ALL[:200]}}
    await api.ok("PATCH", "/models/half_plus_two", json={**rest, "owner": ALL[:200]})
    for number in (1, 2):
        await api.ok("PATCH", f"/models/half_plus_two/versions/{number}", json=rest)
    await api.ok("PATCH", "/fleets/default", json={"description": ALL[:900]})
    await api.ok("POST", "/fleets/default/servers/a:drain", json={"reason": ALL[:900]})
    body = {"versions": [1, 2], "labels": {"stable": 2}, "force": True, "reason": ALL[:900]}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=body)
    seen = VersionSeen(State.END, 1.0, error_code=3, error=ALL)
    theirs = Observed(
        at=1.0,
        reachable=True,
        models={"half_plus_two": {1: seen}, ALL[:100]: {1: seen}},
        labels={"half_plus_two": dict.fromkeys(CORPUS, 1)},
        wedged=ALL,
    )
    async with api.db.begin() as s:
        lease = await leases.holder(s, "default")
        assert lease is not None
        document = {**record.to_json(theirs), "status": "wedged", "sentence": ALL}
        await fleets.save_observed(s, "default", "a", document, epoch=lease.epoch)
    found: str = (await api.ok("GET", "/rollouts"))["items"][0]["id"]
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_page_shows_what_anybody_wrote_as_text(web: Web, language: str) -> None:
    rollout = await strange(web)
    shown = set()
    for name, path in pages(fleet="default", server="a", rollout=rollout, q=ALL).items():
        answer = await web.get(path, **{"Accept-Language": language})
        assert answer.status_code in (200, 303), (name, answer.text)
        assert list(Markup(answer.text).faults()) == [], name
        words = said(answer.text.replace("<bdi>", "").replace("</bdi>", ""))
        assert str(7919 * 7907) not in words, name
        shown |= {one for one in CORPUS if " ".join(one.split()) in words}
    assert shown >= {one for one in CORPUS if "<x-evil" in one or "{{" in one}


@pytest.mark.parametrize("text", CORPUS)
async def test_addresses_that_hold_anything_are_answered_with_text(web: Web, text: str) -> None:
    given = {"fleet": text, "server": text, "rollout": text, "q": text}
    for name, path in pages(**given).items():
        answer = await web.get(path)
        assert answer.status_code < 500, name
        assert list(Markup(answer.text).faults()) == [], name


async def test_a_word_that_is_too_long_is_cut_and_not_left_out(web: Web) -> None:
    await serve(web, "a")
    for path in ("models/half_plus_two", "fleets/default"):
        await web.api.ok("PATCH", f"/{path}", json={"description": "see " + "x" * 4_000})
    for path in ("/models", "/fleets/default/models/half_plus_two", "/fleets", "/fleets/default"):
        assert "see " + "x" * 50 in await web.text(path), path
