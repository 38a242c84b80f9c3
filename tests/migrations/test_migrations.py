"""Migrations: from nothing to what the program needs, and no surprises."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from control_plane.domain.errors import Invalid, SchemaMismatch
from control_plane.store import engines, fleets, journal, migrated, schema
from control_plane.store.database import Database, installation
from control_plane.store.tables import Row

NEWEST = schema.history()[-1].id
UPGRADE = "import sys; from control_plane.store import schema; print(schema.upgrade(sys.argv[1]))"


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    engine = engines.blocking(engines.address(url), read_only=False)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _described(connection: Connection) -> dict[str, Any]:
    """Everything that the database says of its tables, in an order of our own."""
    found = inspect(connection)
    return {
        table: {
            "columns": {
                one["name"]: (repr(one["type"]), one["nullable"], one["default"])
                for one in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table),
            "foreign keys": sorted(map(repr, found.get_foreign_keys(table))),
            "indexes": sorted(map(_index, found.get_indexes(table))),
            "unique": sorted(map(repr, found.get_unique_constraints(table))),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def _index(one: Any) -> str:
    options = {name: str(value) for name, value in one.get("dialect_options", {}).items()}
    return repr((one["name"], one["column_names"], one["unique"], options))


def test_an_upgrade_from_nothing_makes_exactly_the_programs_tables(
    new_database: Callable[[], str],
) -> None:
    upgraded, made = new_database(), new_database()
    assert schema.upgrade(upgraded) == NEWEST
    with _connection(made) as connection:
        Row.metadata.create_all(connection)
        expected = _described(connection)
    with _connection(upgraded) as connection:
        assert _described(connection) == expected
        assert compare_metadata(MigrationContext.configure(connection), Row.metadata) == []


async def test_an_upgraded_database_is_ready_for_use(empty: str) -> None:
    schema.upgrade(empty)
    schema.check(empty)
    db = Database.open(empty)
    async with db.read() as s:
        assert len(await installation(s)) == 8
        assert await journal.last_seq(s) == 0
        assert (await fleets.fleet(s, "default")).rv == 1
    await db.close()


def test_every_installation_has_an_id_of_its_own(new_database: Callable[[], str]) -> None:
    ids = set()
    for url in (new_database(), new_database()):
        schema.upgrade(url)
        with _connection(url) as connection:
            ids.add(connection.execute(text("SELECT id FROM installation")).scalar())
    assert len(ids) == 2


def test_a_second_upgrade_changes_nothing(empty: str) -> None:
    schema.upgrade(empty)
    with _connection(empty) as connection:
        before = connection.execute(text("SELECT id FROM installation")).scalar()
    assert schema.upgrade(empty) == NEWEST
    with _connection(empty) as connection:
        assert connection.execute(text("SELECT id FROM installation")).scalar() == before


def test_two_processes_upgrade_at_once_and_both_succeed(empty: str) -> None:
    upgrading = [sys.executable, "-c", UPGRADE, empty]
    both = [subprocess.Popen(upgrading, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=60)[0].strip() for one in both] == [NEWEST, NEWEST]
    schema.check(empty)


def test_a_downgrade_and_an_upgrade_lead_back(empty: str) -> None:
    schema.upgrade(empty)
    with _connection(empty) as connection:
        before = _described(connection)
    with _connection(empty) as connection:
        settings = schema.config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, "base")
    assert schema.current(empty) == ""
    with _connection(empty) as connection:
        assert _described(connection) == {}
    schema.upgrade(empty)
    with _connection(empty) as connection:
        assert _described(connection) == before


def test_an_empty_database_is_not_what_the_program_needs(empty: str) -> None:
    assert schema.current(empty) == ""
    with pytest.raises(SchemaMismatch, match=r"no schema yet.*tfsctl db upgrade"):
        schema.check(empty)


def test_a_newer_database_is_neither_used_nor_upgraded(empty: str) -> None:
    schema.upgrade(empty)
    with _connection(empty) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for refused in (schema.check, schema.upgrade):
        with pytest.raises(SchemaMismatch, match="newer"):
            refused(empty)


def test_asking_for_the_schema_makes_no_file(tmp_path: Path) -> None:
    assert schema.current(f"sqlite:///{tmp_path}/none.db") == ""
    assert list(tmp_path.iterdir()) == []


def test_the_history_is_told_oldest_first() -> None:
    told = schema.history()
    assert told[0].id == "0001"
    assert all(one.title for one in told)


def test_a_url_of_another_engine_is_invalid() -> None:
    with pytest.raises(Invalid, match="not supported"):
        schema.upgrade("mysql://localhost/x")


def test_the_ids_of_migrations_begin_their_files_names() -> None:
    assert migrated.known() == tuple(one.id for one in schema.history())


def test_a_server_does_not_carry_alembic_along() -> None:
    code = "import sys, control_plane.bootstrap; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
