from collections.abc import Iterator

import pytest

from tests.chaos.small_disk import allowed
from tests.faults.processes import Zygote, running_zygote
from tests.scenario.conftest import stage

__all__ = ["stage"]
# Elsewhere `tests/store/test_database.py` alone says what a database without room means.
collect_ignore = [] if allowed() else ["test_disk_full.py"]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with running_zygote() as made:
        yield made
