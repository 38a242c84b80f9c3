"""Use cases run on SQLite; that both engines do the same is for the store's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.store.database import Database
from tests.databases import sqlite_url
from tests.services.world import World


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database.open(sqlite_url(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def world(db: Database) -> World:
    made = World(db)
    await made.set_up()
    return made
