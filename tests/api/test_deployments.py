"""Deployments, promotions, rollbacks."""

from tests.api.conftest import Api, half_plus_two

PUT = "/fleets/default/deployments/half_plus_two"


async def test_a_deployment_is_put_promoted_and_rolled_back(api: Api) -> None:
    await half_plus_two(api, 1, 2)
    await api.ok("PUT", PUT, json={"versions": [1], "labels": {"stable": 1}})
    assert (await api.ok("GET", PUT))["labels"] == {"stable": 1}
    await api.ok("POST", PUT + ":promote", json={"version": 2})
    assert (await api.ok("GET", PUT))["labels"] == {"stable": 2}
    await api.ok("POST", PUT + ":rollback")
    assert (await api.ok("GET", PUT))["labels"] == {"stable": 1}
