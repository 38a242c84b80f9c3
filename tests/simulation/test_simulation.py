"""The real control plane in virtual time: a slice of it, and that a seed replays."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.chaos.history import Record

_RUN = [sys.executable, "-m", "tests.simulation", "--hours-each", "0.02", "--hours", "0.02"]


def simulated(seed: int, history: Path) -> str:
    """Run a seed as its command does; return what it prints."""
    asked = [*_RUN, "--seed", str(seed), "--keep", str(history)]
    root = Path(__file__).parents[2]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=root, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(history: Path) -> list[Record]:
    return [json.loads(line) for line in history.read_text().splitlines()]


def test_a_seed_replays_to_the_line(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    printed = simulated(3, one), simulated(3, two)
    assert read(one) == read(two)
    assert printed[0].splitlines()[0] == printed[1].splitlines()[0]


def test_no_promise_is_broken_in_a_slice(tmp_path: Path) -> None:
    printed = simulated(5, tmp_path / "history.jsonl")
    assert "goal=simulated_violations value=0 seed=5" in printed
    kinds = {one["kind"] for one in read(tmp_path / "history.jsonl")}
    assert {"fault.on", "api.ok", "reload.began", "predict.ok", "settled", "end"} <= kinds
