"""What a new user gets from one command, and that labels move under traffic without a failure."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane.client import Client, calls
from control_plane.client.answers import Started
from control_plane.client.call import Call
from control_plane.client.calls import Promotion, Rollback
from tests.contract.served import free_port

ROUNDS = int(os.environ.get("TRAFFIC_ROUNDS", "2"))
RATE = 60.0  # a second and server; two servers
READY_S, OVER_S = 120.0, 90.0
Y = {1: 3.0, 2: 103.0, 3: 203.0}  # half_plus_two at 2.0: the answer tells the version


@contextmanager
def up(home: Path, port: int) -> Iterator[str]:
    """Run `tfsctl up` until the block ends; yields its address when it says that it is ready."""
    log = home / "up.log"
    command = [sys.executable, "-m", "control_plane", "up", "--data-dir", str(home / "data")]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + READY_S
        while "ready:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with up(tmp_path_factory.mktemp("up"), free_port()) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as made:
        yield made


@contextmanager
def traffic(file: Path, addresses: list[str]) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.scenario.traffic", str(file), str(RATE), *addresses]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def moved(
    client: Client, call: Call[Started], before: int, after: int
) -> tuple[float, float, set[int]]:
    """Carry out a move and return when it may have happened, between which versions."""
    began = time.time()
    rollout = client.send(call)["rollout"]
    for seen in client.watch(rollout["id"], OVER_S):
        rollout = seen
    assert rollout["phase"] == "succeeded", rollout
    return began, time.time(), {before, after}


def answers(file: Path) -> list[tuple[float, float, int, str]]:
    rows = [line.split(" ", 3) for line in file.read_text().splitlines()]
    return [
        (float(began), float(ended), int(version), told) for began, ended, version, told in rows
    ]


def allowed(moves: list[tuple[float, float, set[int]]], began: float, ended: float) -> set[int]:
    """The versions that the label pointed at at some time between two instants."""
    versions, current = set[int](), 1
    for start, end, between in moves:
        if start <= ended and began <= end:
            versions |= between
        if end < began:
            current = 1 if current == 2 else 2
    return versions or {current}


def test_no_prediction_fails_while_labels_move(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "answers"
    servers = [one["address"] for one in client.send(calls.servers("default"))["items"]]
    promote = calls.promote("default", "half_plus_two", Promotion(version=2))
    back = calls.roll_back("default", "half_plus_two", Rollback())
    moves = []
    with traffic(file, servers):
        for _ in range(ROUNDS):
            moves.append(moved(client, promote, 1, 2))
            moves.append(moved(client, back, 2, 1))
    seen = answers(file)
    assert [told for *_, version, told in seen if version < 0] == []
    wrong = [
        (began, version)
        for began, ended, version, told in seen
        if version not in allowed(moves, began, ended) or float(told) != Y[version]
    ]
    assert wrong == []
    assert {version for *_, version, _ in seen} == {1, 2}
    seconds = seen[-1][1] - seen[0][0]
    print(f"{len(seen)} predictions, 0 failed, {len(moves)} moves in {seconds:.0f} s")


def test_both_examples_answer_by_label(client: Client) -> None:
    words = {"words": [["很", "喜欢"], ["很", "垃圾"]], "nwords": [2, 2]}
    body = json.dumps({"inputs": words}).encode()
    answer = client.send(calls.predict("default", "sentiment", body, label="stable"))
    assert answer["outputs"]["labels"] == ["POS", "NEG"]


def test_a_higher_version_that_nobody_labelled_is_warned_of(client: Client) -> None:
    plan = calls.promote("default", "half_plus_two", Promotion(version=3)).dry()
    warnings = client.send(plan)["plan"]["warnings"]
    assert any("without a label" in one for one in warnings)
