"""The control plane's process is killed with -9 at chosen moments; nothing acknowledged is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from control_plane.client import Client, calls
from control_plane.client.answers import Rollout
from control_plane.client.calls import DeploymentSpec, Promotion, ServerSpec
from control_plane.client.errors import Unreachable
from control_plane.domain.state import State
from control_plane.serving import stubs
from tests.contract.served import free_port

MODELS = Path(__file__).parents[1] / "models"
FLEET, MODEL = "default", "half_plus_two"
PATIENCE_S = 30.0


def eventually(
    read: Callable[[], Any], good: Callable[[Any], bool], within_s: float = PATIENCE_S
) -> Any:
    deadline = time.monotonic() + within_s
    while not good(seen := read()):
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(0.005)
    return seen


class Server:
    """A dev server without TensorFlow, asked directly."""

    def __init__(self, home: Path, name: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = home / f"{name}.config"
        config.write_text("model_config_list {}")
        port = self.address.rpartition(":")[2]
        command = [
            sys.executable,
            "-m",
            "control_plane.devserver",
            "--no_predict",
            f"--port={port}",
        ]
        flags = [f"--model_config_file={config}", "--max_num_load_retries=0"]
        self.process = subprocess.Popen(
            [*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self.channel = grpc.insecure_channel(self.address)

    def state(self, version: int) -> str:
        asked = stubs.GetModelStatusRequest()
        asked.model_spec.name = MODEL
        try:
            told = stubs.ModelServiceStub(self.channel).GetModelStatus(asked, timeout=5)
        except grpc.RpcError:
            return ""
        found = [one for one in told.model_version_status if one.version == version]
        return str(State(found[0].state).name) if found else ""

    def label(self, label: str = "stable") -> int:
        asked = stubs.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name, asked.model_spec.version_label = MODEL, label
        try:
            told = stubs.PredictionServiceStub(self.channel).GetModelMetadata(asked, timeout=5)
        except grpc.RpcError:
            return -1
        return int(told.model_spec.version.value)

    def close(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait(10)


class ControlPlane:
    """`tfsctl serve` on one SQLite file and one port, killed and started at will."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "control_plane", "serve", "--auth", "off"]
        where = ["--port", str(self.port), "--database-url", f"sqlite:///{self.home}/cp.db"]
        with (self.home / "serve.log").open("ab") as out:
            self.process = subprocess.Popen([*command, *where], stdout=out, stderr=out)
        eventually(self.alive, bool)

    def alive(self) -> bool:
        try:
            self.client.send(calls.ready())
        except Unreachable:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def rollout(self, rollout_id: str) -> Rollout:
        return self.client.send(calls.rollout(rollout_id))

    def over(self, rollout_id: str) -> Rollout:
        ended: Rollout = eventually(lambda: self.rollout(rollout_id), lambda one: not one["live"])
        return ended


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    made = [Server(tmp_path, name) for name in ("one", "two")]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def control(tmp_path: Path, servers: list[Server]) -> Iterator[ControlPlane]:
    """A control plane with half_plus_two 1 deployed to both servers."""
    made = ControlPlane(tmp_path)
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
