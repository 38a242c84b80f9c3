"""Models, versions and signatures."""

from tests.api.conftest import MODELS, Api, half_plus_two


async def test_a_model_is_created_listed_shown_and_changed(api: Api) -> None:
    await half_plus_two(api)
    assert [one["name"] for one in (await api.ok("GET", "/models"))["items"]] == ["half_plus_two"]
    changed = await api.ok("PATCH", "/models/half_plus_two", json={"owner": "ml"})
    assert changed["owner"] == "ml"
    assert (await api.ok("GET", "/models/half_plus_two"))["owner"] == "ml"


async def test_a_version_registers_with_its_signatures_and_digest(api: Api) -> None:
    await half_plus_two(api, 1)
    shown = await api.ok("GET", "/models/half_plus_two/versions/1")
    assert shown["status"] == "complete"
    assert len(shown["digest"]) == 64
    signatures = await api.ok("GET", "/models/half_plus_two/versions/1/signatures")
    assert signatures["serving_default"]["inputs"] == {"x": {"dtype": "DT_FLOAT", "shape": [-1]}}


async def test_a_scan_registers_what_is_complete(api: Api) -> None:
    await half_plus_two(api, 2)
    found = await api.ok("POST", "/models/half_plus_two/versions:scan")
    assert (found["added"], found["known"], found["unreadable"]) == ([1, 3], [2], [])
    assert MODELS.is_dir()
