"""The disk of the database is full: nothing new is done, nothing is lost, and room is enough."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from control_plane.client import ApiError, calls
from control_plane.client.calls import DeploymentSpec, Promotion, ServerSpec
from tests.chaos.small_disk import SmallDisk, small_disk
from tests.databases import sqlite_url
from tests.faults.processes import FLEET, MODEL, MODELS, ControlPlane, Server, Zygote, eventually

PROMOTE = f"/api/v1/fleets/{FLEET}/deployments/{MODEL}:promote"
BODY = b'{"instances": [1.0]}'
ANSWERED = "empty tensor map"  # by a server without TensorFlow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    made = [Server(tmp_path, name) for name in ("one", "two")]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def control(
    zygote: Zygote, tmp_path: Path, disk: SmallDisk, servers: list[Server]
) -> Iterator[ControlPlane]:
    """A control plane with its database on the disk; versions 1 and 2 served, `stable` on 1."""
    made = ControlPlane(zygote, tmp_path, sqlite_url(disk.folder))
    made.start()
    send = made.client.send
    send(calls.add_model(MODEL, str(MODELS / MODEL)))
    send(calls.scan(MODEL))
    for number, one in enumerate(servers):
        send(calls.add_server(FLEET, ServerSpec(one.address, f"s{number}", take_over=True)))
    started = send(calls.deploy(FLEET, MODEL, DeploymentSpec([1, 2], {"stable": 1}, force=True)))
    assert made.over(started["rollout"]["id"])["phase"] == "succeeded"
    yield made
    made.kill()
    made.client.close()


def readiness(control: ControlPlane) -> tuple[int, str]:
    answer = httpx.get(f"http://127.0.0.1:{control.port}/readyz")
    return answer.status_code, answer.json()["status"]


def reloads(control: ControlPlane) -> int:
    return len(control.client.send(calls.events(kind="server.reloaded"))["items"])


def promoted(control: ControlPlane, version: int, key: str) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{control.port}{PROMOTE}",
        json={"version": version, "force": True, "supersede": True},
        headers={"Idempotency-Key": key},
        timeout=20,
    )


def held_up(control: ControlPlane, server: Server) -> str:
    """A promotion to version 2 that was acknowledged while one server did not answer."""
    server.stop()
    eventually(
        lambda: control.client.send(calls.server(FLEET, "s1"))["status"],
        lambda seen: "unreachable" in str(seen),
    )
    promotion = Promotion(version=2, force=True)
    rollout = control.client.send(calls.promote(FLEET, MODEL, promotion))["rollout"]
    return str(rollout["id"])


def refused(answer: httpx.Response) -> None:
    """It says that there is no room, and when to come again."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (507, "store-full"), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert "no room" in problem["detail"]


def labels(servers: list[Server]) -> set[int]:
    return {one.label() for one in servers}


def test_on_a_full_disk_callers_are_served_and_nothing_moves_until_there_is_room(
    control: ControlPlane, servers: list[Server], disk: SmallDisk
) -> None:
    rollout, sent = held_up(control, servers[1]), reloads(control)
    disk.fill()
    servers[1].go_on()
    refused(promoted(control, 1, "a"))
    eventually(lambda: readiness(control), lambda seen: seen == (200, "degraded"))
    eventually(lambda: labels(servers), lambda seen: seen == {1})
    with pytest.raises(ApiError, match=ANSWERED):
        control.client.send(calls.predict(FLEET, MODEL, BODY, label="stable"))
    assert control.client.send(calls.resolve(FLEET, MODEL, "stable"))["version"] == 1
    assert control.rollout(rollout)["live"]
    refused(promoted(control, 1, "a"))
    assert (reloads(control), labels(servers)) == (sent, {1})

    disk.free()
    eventually(lambda: readiness(control), lambda seen: seen == (200, "ready"))
    assert control.over(rollout)["phase"] == "succeeded"
    assert labels(servers) == {2}
    started = promoted(control, 1, "a")
    assert started.is_success, started.text
    assert control.over(started.json()["rollout"]["id"])["phase"] == "succeeded"
    assert labels(servers) == {1}


def test_what_was_acknowledged_between_full_disks_is_there_after_a_kill(
    control: ControlPlane, disk: SmallDisk
) -> None:
    kept = []
    for number in range(4):
        key, version = f"key-{number}", 2 - number % 2
        disk.fill()
        refused(promoted(control, version, key))
        disk.free()
        answer = promoted(control, version, key)
        assert answer.is_success, answer.text
        kept.append(answer.json()["rollout"]["id"])
    control.kill()
    with closing(sqlite3.connect(disk.folder / "control-plane.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    control.start()
    *before, last = [control.over(one)["phase"] for one in kept]
    assert {*before} <= {"succeeded", "aborted"}  # by the one after it
    assert last == "succeeded"
