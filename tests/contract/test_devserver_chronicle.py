"""What a dev server writes down of itself is what happened, whoever was told what."""

import json
from pathlib import Path
from typing import Any

from tests.contract.conftest import Start
from tests.contract.served import MODELS, eventually, model

HALF = MODELS / "half_plus_two"


def told(file: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [one for one in lines if one["kind"] == kind]


def test_the_file_tells_of_reloads_configs_and_states(launch: Start, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    served = launch(model(HALF, 1), history_file=file).ready()
    assert served.reload(model(HALF, 1, 2, stable=1))[0] == "OK"
    assert served.reload(model(HALF, 1, stable=7))[0] == "FAILED_PRECONDITION"
    eventually(lambda: served.states("half_plus_two").get(2, ""), "AVAILABLE")
    (began,) = told(file, "server.began")
    assert began["by"] == f"server:{served.port}"
    entry = {"name": "half_plus_two", "base_path": str(HALF)}
    asked = [one["config"] for one in told(file, "reload.began")]
    good = [{**entry, "versions": [1, 2], "labels": {"stable": 1}}]
    assert asked == [good, [{**entry, "versions": [1], "labels": {"stable": 7}}]]
    applied = [(one["reload"], one["config"]) for one in told(file, "config.applied")]
    assert applied == [(0, [{**entry, "versions": [1], "labels": {}}]), (1, good)]
    ended = [(one["reload"], one["code"]) for one in told(file, "reload.ended")]
    assert ended == [(1, "OK"), (2, "FAILED_PRECONDITION")]
    states = [one["state"] for one in told(file, "version.state") if one["version"] == 2]
    assert states == ["START", "LOADING", "AVAILABLE"]


def test_a_second_process_goes_on_in_the_same_file(launch: Start, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    first = launch(model(HALF), history_file=file).ready()
    first.process.kill()
    first.process.wait(10)
    launch(model(HALF), history_file=file, port=first.port).ready()
    assert len(told(file, "server.began")) == 2
    times = [json.loads(line)["t"] for line in file.read_text().splitlines()]
    assert times == sorted(times)
