from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenario.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.close()
