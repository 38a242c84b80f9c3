from collections.abc import Iterator

import pytest

from tests.faults.processes import Zygote, running_zygote
from tests.scenario.conftest import stage

__all__ = ["stage"]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with running_zygote() as made:
        yield made
