"""The control plane's process is killed with -9 at chosen moments; nothing acknowledged is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.client import calls
from control_plane.client.calls import DeploymentSpec, Promotion, ServerSpec
from tests.faults.processes import FLEET, MODEL, MODELS, ControlPlane, Server, Zygote, eventually


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    made = [Server(tmp_path, name) for name in ("one", "two")]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def control(zygote: Zygote, tmp_path: Path, servers: list[Server]) -> Iterator[ControlPlane]:
    """A control plane with half_plus_two 1 deployed to both servers."""
    made = ControlPlane(zygote, tmp_path)
    made.start()
    send = made.client.send
    send(calls.add_model(MODEL, str(MODELS / MODEL)))
    send(calls.scan(MODEL))
    for number, server in enumerate(servers):
        send(calls.add_server(FLEET, ServerSpec(server.address, f"s{number}", take_over=True)))
    spec = DeploymentSpec([1], {"stable": 1}, force=True)
    started = send(calls.deploy(FLEET, MODEL, spec))
    assert made.over(started["rollout"]["id"])["phase"] == "succeeded"
    yield made
    made.kill()
    made.client.close()


def test_a_promotion_goes_on_after_a_kill_between_load_and_label_move(
    control: ControlPlane, servers: list[Server]
) -> None:
    promotion = Promotion(version=2, force=True)
    rollout = control.client.send(calls.promote(FLEET, MODEL, promotion))["rollout"]
    eventually(lambda: {one.state(2) for one in servers}, lambda seen: seen == {"AVAILABLE"})
    control.kill()
    assert {one.label() for one in servers} == {1}, "too late: a label had moved already"
    control.start()
    assert control.over(rollout["id"])["phase"] == "succeeded"
    assert {one.label() for one in servers} == {2}


def acknowledged(servers: list[Server], version: int) -> bool:
    return True


def picked_up_somewhere(servers: list[Server], version: int) -> bool:
    return any(one.state(version) in ("START", "LOADING", "AVAILABLE") for one in servers)


def moved_somewhere(servers: list[Server], version: int) -> bool:
    return any(one.label() == version for one in servers)


def moved_everywhere(servers: list[Server], version: int) -> bool:
    return all(one.label() == version for one in servers)


def test_nothing_that_was_acknowledged_is_lost_by_kills_along_the_way(
    control: ControlPlane, servers: list[Server]
) -> None:
    current = 1
    for moment in (acknowledged, picked_up_somewhere, moved_somewhere, moved_everywhere):
        current = 3 - current
        promotion = Promotion(version=current, force=True)
        answer = control.client.send(calls.promote(FLEET, MODEL, promotion))
        eventually(lambda: moment(servers, current), bool)  # noqa: B023 - called at once
        control.kill()
        control.start()
        assert control.over(answer["rollout"]["id"])["phase"] == "succeeded"
        assert {one.label() for one in servers} == {current}
