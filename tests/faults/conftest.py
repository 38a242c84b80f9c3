import pytest

from tests.chaos.small_disk import allowed
from tests.faults.processes import Zygote, the_zygote
from tests.scenario.conftest import stage

__all__ = ["stage"]
# Elsewhere `tests/store/test_database.py` alone says what a database without room means.
collect_ignore = [] if allowed() else ["test_disk_full.py"]


@pytest.fixture(scope="session")
def zygote() -> Zygote:
    return the_zygote()
