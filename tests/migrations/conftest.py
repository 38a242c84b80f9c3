"""Empty databases of both engines, as many as a test wants."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.databases import Postgres, fresh_database, postgres_server, sqlite_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    with ExitStack() as databases:

        def new_sqlite() -> str:
            home = tmp_path / str(len(list(tmp_path.iterdir())))
            home.mkdir()
            return sqlite_url(home, migrated=False)

        def new_postgres() -> str:
            server = request.getfixturevalue("postgres")
            return databases.enter_context(fresh_database(server, migrated=False))

        yield new_sqlite if request.param == "sqlite" else new_postgres


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    return new_database()
