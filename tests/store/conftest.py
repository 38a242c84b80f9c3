"""Every store test runs on both engines."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from control_plane.store.database import Database
from tests.databases import Postgres, fresh_database, postgres_server, sqlite_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path)
        return
    with fresh_database(request.getfixturevalue("postgres")) as found:
        yield found


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url)
    yield opened
    await opened.close()
