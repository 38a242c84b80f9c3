"""Reading and writing rows as plain columns, the same on both engines."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.domain.errors import NotFound, PreconditionFailed
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


async def insert_new(s: AsyncSession, row: type[Row], **values: Any) -> bool:
    """Insert a row and return True; return False, changing nothing, if its keys are taken."""
    made = postgresql if s.get_bind().dialect.name == "postgresql" else sqlite
    table = table_of(row)
    statement = made.insert(table).values(**values).on_conflict_do_nothing()
    answer = await s.execute(statement.returning(*table.primary_key.columns))
    return answer.first() is not None


async def upsert(s: AsyncSession, row: type[Row], **values: Any) -> None:
    """Insert a row, or overwrite what is not part of its primary key."""
    await upsert_all(s, row, [values])


async def upsert_all(s: AsyncSession, row: type[Row], each: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns, or overwrite what is not part of their primary keys."""
    made = postgresql if s.get_bind().dialect.name == "postgresql" else sqlite
    table = table_of(row)
    keys = [column.name for column in table.primary_key.columns]
    statement = made.insert(table)
    changes = {name: statement.excluded[name] for name in each[0] if name not in keys}
    merged = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    await s.execute(merged, [dict(one) for one in each])


async def save(
    s: AsyncSession,
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
    table = table_of(row)
    where = matches(table, key)
    guard = where if expected_rv is None else and_(where, table.c.rv == expected_rv)
    changed = update(table).where(guard).values(**changes, rv=table.c.rv + 1)
    new = (await s.execute(changed.returning(table.c.rv))).scalar()
    if new is not None:
        return int(new)
    actual = (await s.execute(select(table.c.rv).where(where))).scalar()
    if actual is None:
        raise NotFound(missing(table.name, key))
    raise PreconditionFailed(expected=expected_rv, actual=actual)


def matches(table: Table, key: Mapping[str, Any]) -> ColumnElement[bool]:
    """Return the condition that a row has this key."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def missing(table_name: str, key: Mapping[str, Any]) -> str:
    """Say what was looked for and not found."""
    *owners, (_, last) = key.items()
    whose = "".join(f" of {name} {value}" for name, value in owners)
    return f"There is no {table_name.rstrip('s')} {last}{whose}."


async def one_of(s: AsyncSession, row: type[Row], **key: Any) -> Mapping[str, Any]:
    """Return the columns of the row with this key.

    Raises:
        NotFound: no such row.
    """
    found = await maybe_one(s, row, **key)
    if found is None:
        raise NotFound(missing(row.__tablename__, key), **key)
    return found


async def maybe_one(s: AsyncSession, row: type[Row], **key: Any) -> Mapping[str, Any] | None:
    """Return the columns of the row with this key, or None."""
    found = await s.execute(_by_key(row, tuple(key)), key)
    return cast("Mapping[str, Any] | None", found.mappings().first())


@cache
def _by_key(row: type[Row], names: tuple[str, ...]) -> Select[Any]:
    """Select by these columns; made once, as making it takes longer than SQLite's answer."""
    table = table_of(row)
    return select(table).where(and_(*(table.c[name] == bindparam(name) for name in names)))


async def all_of(s: AsyncSession, statement: Select[Any]) -> Sequence[Mapping[str, Any]]:
    """Return every row of a statement as its columns."""
    return cast("Sequence[Mapping[str, Any]]", (await s.execute(statement)).mappings().all())


async def some(s: AsyncSession, where: ColumnElement[bool]) -> bool:
    """Return whether any row fulfils the condition."""
    return bool((await s.execute(select(exists().where(where)))).scalar())


async def newest(s: AsyncSession, column: Any, *where: ColumnElement[bool]) -> int:
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
