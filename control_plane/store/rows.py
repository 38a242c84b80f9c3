"""Reading and writing rows as plain columns, the same on both engines."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    bindparam,
    delete,
    exists,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.domain.errors import NotFound, PreconditionFailed
from control_plane.store import deeds
from control_plane.store.tables import Row

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def table_of(row: type[Row]) -> Table:
    """Return the table behind a row class."""
    return cast(Table, row.__table__)


def columns_of(row: type[Row]) -> Select[Any]:
    """Select every column of a table; rows come back as tuples, never as entities."""
    return select(table_of(row))


def values_of(value: "DataclassInstance", *but: str) -> dict[str, Any]:
    """Return a value's fields as columns, leaving some out; mappings become dicts, enums words."""
    names = [one.name for one in fields(value) if one.name not in but]
    return {name: _plain(getattr(value, name)) for name in names}


async def insert_new(s: AsyncConnection, row: type[Row], **values: Any) -> bool:
    """Insert a row and return True; return False, changing nothing, if its keys are taken."""
    statement = _insert_new(row, s.dialect.name, tuple(values))
    made = (await s.execute(statement, values)).first()
    if made is not None:
        deeds.changed(s, row.__tablename__, dict(made._mapping), values)
    return made is not None


@cache
def _insert_new(row: type[Row], dialect: str, names: tuple[str, ...]) -> Any:
    table = table_of(row)
    statement = _insert(dialect)(table).values({name: bindparam(name) for name in names})
    return statement.on_conflict_do_nothing().returning(*table.primary_key.columns)


async def upsert(s: AsyncConnection, row: type[Row], **values: Any) -> None:
    """Insert a row, or overwrite what is not part of its primary key."""
    await upsert_all(s, row, [values])


async def upsert_all(s: AsyncConnection, row: type[Row], each: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns, or overwrite what is not part of their primary keys."""
    statement = _upsert(row, s.dialect.name, tuple(each[0]))
    await s.execute(statement, [dict(one) for one in each])
    for one in each:
        deeds.changed(s, row.__tablename__, _key_of(row, one), one)


def _key_of(row: type[Row], values: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: values[one.name] for one in table_of(row).primary_key.columns}


@cache
def _upsert(row: type[Row], dialect: str, names: tuple[str, ...]) -> Any:
    table = table_of(row)
    keys = [column.name for column in table.primary_key.columns]
    statement = _insert(dialect)(table)
    changes = {name: statement.excluded[name] for name in names if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changes)


def _insert(dialect: str) -> Any:
    return postgresql.insert if dialect == "postgresql" else sqlite.insert


async def save(
    s: AsyncConnection,
    row: type[Row],
    key: Mapping[str, Any],
    changes: Mapping[str, Any],
    expected_rv: int | None,
) -> int:
    """Change a row if its rv is the expected one (None: whatever it is) and return the new rv.

    Raises:
        NotFound: no such row.
        PreconditionFailed: its rv is another.
    """
    statement = _update(row, tuple(key), tuple(changes), expected_rv is not None)
    asked = {f"the_{name}": value for name, value in key.items()} | {"expected_rv": expected_rv}
    new = (await s.execute(statement, {**changes, **asked})).scalar()
    if new is not None:
        deeds.changed(s, row.__tablename__, key, {**changes, "rv": new})
        return int(new)
    found = await maybe_one(s, row, **key)
    if found is None:
        raise NotFound(missing(row.__tablename__, key))
    raise PreconditionFailed(expected=expected_rv, actual=found["rv"])


@cache
def _update(row: type[Row], keys: tuple[str, ...], names: tuple[str, ...], guarded: bool) -> Any:
    table = table_of(row)
    where = [table.c[name] == bindparam(f"the_{name}") for name in keys]
    guard = [table.c.rv == bindparam("expected_rv")] if guarded else []
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    changed = update(table).where(*where, *guard).values(**values, rv=table.c.rv + 1)
    return changed.returning(table.c.rv)


def missing(table_name: str, key: Mapping[str, Any]) -> str:
    """Say what was looked for and not found."""
    *owners, (_, last) = key.items()
    whose = "".join(f" of {name} {value}" for name, value in owners)
    return f"There is no {table_name.rstrip('s')} {last}{whose}."


async def one_of(s: AsyncConnection, row: type[Row], **key: Any) -> Mapping[str, Any]:
    """Return the columns of the row with this key.

    Raises:
        NotFound: no such row.
    """
    found = await maybe_one(s, row, **key)
    if found is None:
        raise NotFound(missing(row.__tablename__, key), **key)
    return found


async def maybe_one(s: AsyncConnection, row: type[Row], **key: Any) -> Mapping[str, Any] | None:
    """Return the columns of the row with this key, or None."""
    found = (await s.execute(by_key(row, tuple(key)), key)).mappings().first()
    if found is not None:
        deeds.saw(s, row.__tablename__, key, cast("Mapping[str, Any]", found))
    return cast("Mapping[str, Any] | None", found)


@cache
def by_key(row: type[Row], names: tuple[str, ...]) -> Select[Any]:
    """Select by these columns, given as parameters of their names.

    Made once, as everything here that is cached: to make a statement takes longer than SQLite's
    answer.
    """
    table = table_of(row)
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


async def all_by(
    s: AsyncConnection, row: type[Row], *order: str, **key: Any
) -> Sequence[Mapping[str, Any]]:
    """Return the columns of every row with this key, in the order of some columns."""
    found = await s.execute(_in_order(row, tuple(key), order), key)
    return cast("Sequence[Mapping[str, Any]]", found.mappings().all())


@cache
def _in_order(row: type[Row], names: tuple[str, ...], order: tuple[str, ...]) -> Select[Any]:
    return by_key(row, names).order_by(*(table_of(row).c[name] for name in order))


async def all_of(s: AsyncConnection, statement: Select[Any]) -> Sequence[Mapping[str, Any]]:
    """Return every row of a statement as its columns."""
    return cast("Sequence[Mapping[str, Any]]", (await s.execute(statement)).mappings().all())


async def some(s: AsyncConnection, where: ColumnElement[bool]) -> bool:
    """Return whether any row fulfils the condition."""
    return bool((await s.execute(select(exists().where(where)))).scalar())


async def delete_some(
    s: AsyncConnection, row: type[Row], most: int, *where: ColumnElement[bool]
) -> int:
    """Delete up to `most` rows that fulfil all conditions; return how many."""
    table = table_of(row)
    keys = table.primary_key.columns
    these = select(*keys).where(*where).limit(most)
    gone = await s.execute(delete(table).where(tuple_(*keys).in_(these)).returning(*keys))
    return len(gone.all())


async def newest(s: AsyncConnection, column: Any, *where: ColumnElement[bool]) -> int:
    """Return the greatest value of a number's column; 0 if there is none."""
    return int(
        (await s.execute(select(func.coalesce(func.max(column), 0)).where(*where))).scalar_one()
    )


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return dict(value)
        case enum.Enum():
            return value.value
        case _:
            return value
