"""Search: everything by a part of its name, the page and its JSON alike."""

from tests.web.conftest import Web
from tests.web.test_overview import serve


async def test_everything_is_found_by_a_part_of_its_name(web: Web) -> None:
    await serve(web, "blue", "green")
    found = await web.api.ok("GET", "/search?q=PLUS")
    assert [one["model"] for one in found["models"]] == ["half_plus_two"]
    assert [one["models"] for one in found["rollouts"]] == [["half_plus_two"]]
    told = await web.text("/search?q=green")
    assert "green 127.0.0.1:2" in told
    assert "blue" not in told
    assert [one["fleet"] for one in (await web.api.ok("GET", "/search?q=def"))["fleets"]] == [
        "default"
    ]
    rollout = found["rollouts"][0]["rollout"]
    assert rollout in await web.text(f"/search?q={rollout}")


async def test_what_is_not_there_and_what_was_not_asked_is_said(web: Web) -> None:
    assert "Nothing has this in its name." in await web.text("/search?q=ghost%25")
    assert "Type a part of a name." in await web.text("/search?q=")
    assert "<script>" not in (await web.get("/search?q=%22%3E%3Cscript%3E")).text
