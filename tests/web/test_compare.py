"""Comparisons: two versions, two times."""

from datetime import UTC, datetime, timedelta

from control_plane.domain.rollout import Phase
from tests.api.conftest import half_plus_two
from tests.web.conftest import Web
from tests.web.test_history import redeploy
from tests.web.test_overview import serve, settle

VERSION = "/models/half_plus_two/versions"


async def test_the_two_newest_versions_are_compared_unless_others_are_named(web: Web) -> None:
    assert "Two versions of a model" in await web.text("/compare")
    await half_plus_two(web.api, 1, 2, 3)
    assert "half_plus_two 2 → 3" in await web.text("/compare?model=half_plus_two")
    told = await web.text("/compare?model=half_plus_two&before=1&after=3")
    verdict = (await web.api.ok("GET", f"{VERSION}/3/signatures:diff?against=1"))["verdict"]
    assert "half_plus_two 1 → 3" in told
    assert {"identical": "identical signatures", "breaking": "breaking:"}.get(
        verdict, "compatible:"
    ) in told
    assert "serving_default.inputs.x" in told


async def test_metrics_and_tags_stand_side_by_side_with_their_difference(web: Web) -> None:
    await half_plus_two(web.api, 1, 2)
    for number, auc in ((1, 0.5), (2, 0.75)):
        body = {"metrics": {"auc": auc}, "tags": {"by": "<i>ada"}}
        await web.api.ok("PATCH", f"{VERSION}/{number}", json=body)
    page = await web.get("/compare?model=half_plus_two")
    assert "+0.25" in page.text
    assert "<i>ada" not in page.text
    assert "&lt;i&gt;ada" in page.text


async def test_a_fleet_at_two_times(web: Web) -> None:
    await serve(web, "a")
    await settle(web, Phase.SUCCEEDED)
    between = datetime.now(UTC).replace(tzinfo=None).isoformat()
    await redeploy(web)
    told = await web.text(f"/compare?fleet=default&since={between}")
    assert "stable → 1" in told
    assert "stable → 2" in told
    assert "changed" in told
    past = (datetime.now(UTC) - timedelta(days=9)).replace(tzinfo=None).isoformat()
    assert "added" in await web.text(f"/compare?fleet=default&since={past}")
    told = await web.text(f"/compare?fleet=default&since={past}&until={past}")
    assert "Nothing was served at either time." in told


async def test_what_is_not_there_is_said(web: Web) -> None:
    await half_plus_two(web.api, 1)
    assert "Choose two of 1 version." in await web.text("/compare?model=half_plus_two")
    answer = await web.get("/compare?model=half_plus_two&before=1&after=77")
    assert answer.status_code == 404
    assert "Choose two" in await web.text("/compare?model=half_plus_two&before=1&after=two")
    assert "Choose two of its 0 versions." in await web.text("/compare?model=ghost")
