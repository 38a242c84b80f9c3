"""Where load balancers may send callers."""

import pytest

from control_plane.client import ApiError
from control_plane.client.conversation import answer
from control_plane.domain.observed import Observed
from tests.api.conftest import Api
from tests.api.test_views import FLEET, HALF, available, fleet_of_two, observe, seen

A = f"{FLEET}/servers/a/ready"


async def ready(api: Api, path: str) -> tuple[int, str]:
    """The status of an answer and what it says, once memory has what was written."""
    await api.app.state.running.resolved.refresh("default")
    answer = await api.http.get(path)
    told = answer.json()
    assert told["ready"] is (answer.status_code == 200)
    return answer.status_code, told["sentence"]


async def test_a_deployment_is_ready_while_one_server_answers_to_its_labels(api: Api) -> None:
    await fleet_of_two(api)
    assert await ready(api, f"{HALF}/ready") == (503, "a: it does not answer")
    await observe(api, "a", seen(available(1, 2)))
    served = (200, "served by 1 of 2 servers")
    assert await ready(api, f"{HALF}/ready") == served
    assert await ready(api, f"{HALF}/ready?label=stable") == served
    await observe(api, "a", Observed(at=1.0, reachable=False))
    assert await ready(api, f"{HALF}/ready?label=stable") == (503, "a: it does not answer")


async def test_a_label_on_its_way_is_ready_before_and_after(api: Api) -> None:
    await fleet_of_two(api)
    for name in ("a", "b"):
        await observe(api, name, seen(available(1, 2)))
    await api.ok("POST", f"{HALF}:promote", json={"version": 2, "force": True})
    assert await ready(api, f"{HALF}/ready?label=stable") == (
        200,
        "served by 2 of 2 servers",
    )
    await observe(api, "a", seen(available(1, 2), stable=2))
    assert await ready(api, A) == (200, "serving")


async def test_a_server_is_ready_when_it_answers_to_all_that_it_should_serve(api: Api) -> None:
    await fleet_of_two(api)
    assert await ready(api, A) == (503, "it does not answer")
    await observe(api, "a", seen(available(1, 2), stable=None))
    assert await ready(api, A) == (503, "half_plus_two has no label stable there yet")
    await observe(api, "a", seen({}, stable=1))
    assert await ready(api, f"{A}?model=half_plus_two&label=stable") == (
        503,
        "half_plus_two 1 is not loaded, and stable points at it",
    )
    await observe(api, "a", seen(available(1)))
    assert await ready(api, A) == (200, "serving")
    await api.ok("POST", f"{FLEET}/servers/a:drain", json={"reason": "a new disk"})
    assert await ready(api, A) == (503, "local drained it: a new disk")


async def test_who_uses_the_client_is_told_why(api: Api) -> None:
    await fleet_of_two(api)
    with pytest.raises(ApiError, match="it does not answer") as told:
        answer(await api.http.get(A))
    assert told.value.code == "not-ready"


async def test_what_does_not_exist_is_not_found_and_a_label_needs_its_model(api: Api) -> None:
    await fleet_of_two(api)
    for path in (
        f"{HALF}/ready?label=none",
        f"{FLEET}/deployments/none/ready",
        f"{FLEET}/servers/none/ready",
        f"{A}?model=none",
        "/fleets/none/servers/a/ready",
    ):
        assert (await api.refused("GET", path))["status"] == 404
    problem = await api.refused("GET", f"{A}?label=stable")
    assert (problem["status"], problem["errors"][0]["field"]) == (422, "label")
