"""Models, versions and signatures."""

import asyncio
import shutil
from pathlib import Path

from control_plane.domain.catalog import Version
from control_plane.store import catalog
from tests.api.conftest import MODELS, Api, half_plus_two, now

MODEL = "/models/half_plus_two"


async def test_a_model_is_created_listed_shown_and_changed(api: Api) -> None:
    await half_plus_two(api)
    assert [one["name"] for one in (await api.ok("GET", "/models"))["items"]] == ["half_plus_two"]
    assert (await api.ok("GET", "/models", params={"q": "nothing like it"}))["items"] == []
    changed = await api.ok("PATCH", MODEL, json={"owner": "ml"})
    assert changed["owner"] == "ml"
    assert (await api.ok("GET", MODEL))["owner"] == "ml"


async def test_a_taken_name_is_a_conflict(api: Api) -> None:
    await half_plus_two(api)
    body = {"name": "half_plus_two", "base_path": str(MODELS / "sentiment")}
    problem = await api.refused("POST", "/models", json=body)
    assert (problem["status"], problem["code"]) == (409, "already-exists")


async def test_a_base_path_that_is_not_seen_is_refused_with_where_it_was_looked_for(
    api: Api, tmp_path: Path
) -> None:
    body = {"name": "ghost", "base_path": str(tmp_path / "ghost")}
    problem = await api.refused("POST", "/models", json=body)
    assert (problem["status"], problem["code"]) == (422, "artifact-missing")
    assert problem["looked_for"] == [str(tmp_path / "ghost")]
    await api.ok("POST", "/models", json=body | {"force": True})


async def test_a_base_path_is_looked_for_where_the_fleet_says_that_we_see_it(api: Api) -> None:
    mapped = {"name": "mapped", "path_map": {"/models": str(MODELS)}}
    await api.ok("POST", "/fleets", json=mapped)
    body = {"name": "half", "base_path": "/models/half_plus_two"}
    assert (await api.ok("POST", "/models", json=body))["base_path"] == "/models/half_plus_two"
    assert (await api.ok("POST", "/models/half/versions:scan"))["added"] == [1, 2, 3]


async def test_the_directory_of_a_version_is_no_base_path(api: Api) -> None:
    body = {"name": "half", "base_path": str(MODELS / "half_plus_two" / "1"), "force": True}
    problem = await api.refused("POST", "/models", json=body)
    assert problem["errors"][0]["field"] == "base_path"


async def test_a_version_registers_with_its_signatures_and_digest(api: Api) -> None:
    await half_plus_two(api, 1)
    shown = await api.ok("GET", f"{MODEL}/versions/1")
    assert shown["status"] == "complete"
    assert len(shown["digest"]) == 64
    signatures = await api.ok("GET", f"{MODEL}/versions/1/signatures")
    assert signatures["serving_default"]["inputs"] == {"x": {"dtype": "DT_FLOAT", "shape": [-1]}}


async def test_a_version_is_promotable_once_its_files_are_hashed_in_the_background(
    api: Api,
) -> None:
    await half_plus_two(api)
    pending = Version("half_plus_two", 1, now(), "test", size_bytes=1)
    async with api.db.begin() as s:
        await catalog.add_version(s, pending)
    put = {"versions": [1], "labels": {"stable": 1}}
    deployment = "/fleets/default/deployments/half_plus_two"
    problem = await api.refused("PUT", deployment, json=put)
    assert (problem["status"], problem["code"]) == (422, "artifact-missing")
    async with asyncio.timeout(20):
        while (await api.ok("GET", f"{MODEL}/versions/1"))["digest"] == "pending":
            await asyncio.sleep(0.05)
    assert (await api.ok("PUT", deployment, json=put))["changed"]


async def test_a_version_without_files_is_refused_unless_forced(api: Api) -> None:
    await half_plus_two(api)
    problem = await api.refused("POST", f"{MODEL}/versions", json={"version": 99})
    assert (problem["status"], problem["code"]) == (422, "artifact-missing")
    assert problem["looked_for"] == [f"{MODELS}/half_plus_two/99"]
    forced = await api.ok("POST", f"{MODEL}/versions", json={"version": 99, "force": True})
    assert forced["status"] == "broken"
    assert "absent" in forced["fault"]


async def test_a_corrupt_version_registers_and_says_so(api: Api) -> None:
    await api.ok("POST", "/models", json={"name": "bad", "base_path": str(MODELS / "corrupt")})
    made = await api.ok("POST", "/models/bad/versions", json={"version": 1})
    assert made["status"] == "broken"
    assert made["digest"] == "pending"


async def test_a_scan_registers_what_is_complete_and_tells_what_is_not(
    api: Api, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "half_plus_two", tmp_path / "m")
    shutil.copytree(MODELS / "corrupt" / "1", tmp_path / "m" / "4")
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(tmp_path / "m")})
    await api.ok("POST", "/models/m/versions", json={"version": 2})
    found = await api.ok("POST", "/models/m/versions:scan")
    assert (found["added"], found["known"]) == ([1, 3], [2])
    assert [one["version"] for one in found["unreadable"]] == [4]


async def test_a_scan_mends_a_version_whose_files_came_later(api: Api, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(tmp_path / "m")})
    await api.ok("POST", "/models/m/versions", json={"version": 1, "force": True})
    shutil.copytree(MODELS / "half_plus_two" / "1", tmp_path / "m" / "1")
    await api.ok("POST", "/models/m/versions:scan")
    assert (await api.ok("GET", "/models/m/versions/1"))["status"] == "complete"


async def test_versions_are_listed_in_pages_the_highest_first(api: Api) -> None:
    await half_plus_two(api, 1, 2, 3)
    first = await api.ok("GET", f"{MODEL}/versions", params={"page_size": 2})
    assert [one["version"] for one in first["items"]] == [3, 2]
    token = {"page_size": 2, "page_token": first["next_page_token"]}
    rest = await api.ok("GET", f"{MODEL}/versions", params=token)
    assert [one["version"] for one in rest["items"]] == [1]
    assert rest["next_page_token"] == ""


async def test_words_about_a_version_change_and_its_files_do_not(api: Api) -> None:
    await half_plus_two(api, 1)
    words = {"description": "first", "metrics": {"auc": 0.9}, "tags": {"run": "7"}}
    changed = await api.ok("PATCH", f"{MODEL}/versions/1", json=words)
    assert {key: changed[key] for key in words} == words
    problem = await api.refused("PATCH", f"{MODEL}/versions/1", json={"digest": "0" * 64})
    assert problem["errors"][0]["field"] == "digest"


async def test_a_deployed_version_cannot_be_deleted(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    put = {"versions": [1], "labels": {"stable": 1}}
    await api.ok("PUT", "/fleets/default/deployments/half_plus_two", json=put)
    problem = await api.refused("DELETE", f"{MODEL}/versions/1")
    assert (problem["status"], problem["code"]) == (409, "still-in-use")
    assert (await api.refused("DELETE", MODEL))["status"] == 409
    await api.ok("DELETE", f"{MODEL}/versions/2")
    assert (await api.refused("GET", f"{MODEL}/versions/2"))["status"] == 404


async def test_a_deleted_number_comes_back_only_with_the_same_files(
    api: Api, tmp_path: Path
) -> None:
    home = tmp_path / "m"
    shutil.copytree(MODELS / "half_plus_two" / "1", home / "1")
    await api.ok("POST", "/models", json={"name": "m", "base_path": str(home)})
    await api.ok("POST", "/models/m/versions", json={"version": 1})
    await api.ok("DELETE", "/models/m/versions/1")
    shutil.rmtree(home / "1")
    shutil.copytree(MODELS / "half_plus_two" / "2", home / "1")
    assert (await api.refused("POST", "/models/m/versions", json={"version": 1}))["status"] == 409
    shutil.rmtree(home / "1")
    shutil.copytree(MODELS / "half_plus_two" / "1", home / "1")
    await api.ok("POST", "/models/m/versions", json={"version": 1})


async def test_signatures_are_compared(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    same = await api.ok("GET", f"{MODEL}/versions/2/signatures:diff", params={"against": 1})
    assert (same["verdict"], same["changes"]) == ("identical", [])


async def test_a_sample_request_is_made_from_the_signature(api: Api) -> None:
    await half_plus_two(api, 1)
    made = await api.ok("GET", f"{MODEL}/versions/1/signatures:sample")
    assert made == {"signature_name": "serving_default", "inputs": {"x": [0.0]}}
    unknown = {"signature": "nothing"}
    path = f"{MODEL}/versions/1/signatures:sample"
    assert (await api.refused("GET", path, params=unknown))["status"] == 404
