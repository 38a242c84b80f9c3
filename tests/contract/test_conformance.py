"""The dev server passes every case of the conformance suite, where that lies beside the checkout.

The cases mostly wait, each for a server of its own, so they run side by side.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from control_plane.serving import stubs

ROOT = Path(__file__).parents[2]
SIDE_BY_SIDE = 6
FLAGS = "--port={port} --model_config_file={model_config_file} {flags}"


def load(path: Path) -> ModuleType:
    assert stubs.ModelSpec, "the suite finds the messages loaded"
    spec = importlib.util.spec_from_file_location("conformance", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    runtime = sys.modules.get("tensorflow")
    spec.loader.exec_module(module)
    if runtime is None:  # the suite leaves an empty package of this name behind
        sys.modules.pop("tensorflow", None)
    return module


SUITES = [load(path) for path in sorted(ROOT.parent.glob("*/conformance/conformance.py"))]
CASES = {name: (suite, case) for suite in SUITES for name, case in suite.cases_of(suite).items()}


@pytest.fixture(scope="module")
def verdicts(devserver: str, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[str]]]:
    """All cases that were asked for, started at once: what each says when it has failed."""
    asked = [
        name for name in CASES if any(f"[{name}]" in one.name for one in request.session.items)
    ]
    first = 20_000 + os.getpid() % 200 * len(CASES)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as side_by_side:
        yield {
            name: side_by_side.submit(run, name, f"{devserver} {FLAGS}", first + at)
            for at, name in enumerate(asked)
        }


def run(name: str, command: str, port: int) -> str:
    suite, case = CASES[name]
    return str(suite.run(case, command, suite.free_port(port)))


if CASES:

    @pytest.mark.parametrize("case", CASES)
    def test_the_dev_server_behaves_like_the_real_one(
        case: str, verdicts: dict[str, Future[str]]
    ) -> None:
        assert verdicts[case].result() == ""
