"""Which tests share a worker, and which begin first.

Stories wait more than they work, so there are more workers than cores. Each story goes to whoever
is free, and what is long begins first, so that no worker is left with it at the end. Tests of a
module that share something which takes long to make stay together.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

ALONE = re.compile(r"tests/(scenario|faults)/(?!test_(up|gates|kill_in_steps|replicas)\.py)")
WITH_TENSORFLOW = re.compile(r"tests/contract/test_(devserver|client_devserver|conformance|replay)")
LONG = (
    "tests/browser/test_every_place.py",
    "tests/faults/test_failpoints.py",
    "tests/faults/",
    "tests/contract/",
    "tests/browser/",
    "tests/cli/",
    "tests/scenario/",
    "tests/unit/test_planner_",
    "tests/simulation/",
)


def together(test: str) -> str:
    """What a test shares a worker with: its module, those of its like, or nothing."""
    if WITH_TENSORFLOW.match(test):
        return "with TensorFlow"
    return test if ALONE.match(test) else test.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # it has no types
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid)

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    yield
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    return next((n for n, one in enumerate(LONG) if item.nodeid.startswith(one)), len(LONG))
