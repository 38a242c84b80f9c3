"""Strategies in the database: every edit stays, under a number of its own."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select

from control_plane.domain.strategy import Named, to_json
from control_plane.domain.strategy_document import parse
from control_plane.store import rows
from control_plane.store.database import Page, Paged, Session, key_of
from control_plane.store.tables import ModelRow, StrategyRow


async def newest(s: Session, name: str) -> Named | int:
    """Return the newest edit; only its number, 0 if there is none, where it does not exist now."""
    statement = rows.columns_of(StrategyRow).where(StrategyRow.name == name)
    found = await rows.all_of(s, statement.order_by(StrategyRow.number.desc()).limit(1))
    if not found:
        return 0
    return _named(found[0]) if found[0]["document"] is not None else int(found[0]["number"])


async def edit(s: Session, name: str, number: int) -> Named | None:
    """Return a strategy as one edit left it; None if there is no such edit."""
    found = await rows.maybe_one(s, StrategyRow, name=name, number=number)
    return _named(found) if found is not None and found["document"] is not None else None


async def edits(s: Session, name: str, page: Page = Page()) -> Paged[Named]:  # noqa: B008
    """Return the edits of a strategy, the newest first."""
    statement = rows.columns_of(StrategyRow).where(
        StrategyRow.name == name, StrategyRow.document.is_not(None)
    )
    if key := key_of(page.after, int):
        statement = statement.where(StrategyRow.number < key[0])
    statement = statement.order_by(StrategyRow.number.desc()).limit(page.size + 1)
    found = [_named(one) for one in await rows.all_of(s, statement)]
    return page.of(found, lambda one: (one.number,))


async def all_newest(s: Session) -> tuple[Named, ...]:
    """Return every strategy that exists now, by name."""
    last = (
        select(StrategyRow.name, func.max(StrategyRow.number).label("number"))
        .group_by(StrategyRow.name)
        .subquery()
    )
    statement = rows.columns_of(StrategyRow).join(
        last, (StrategyRow.name == last.c.name) & (StrategyRow.number == last.c.number)
    )
    found = await rows.all_of(s, statement.order_by(StrategyRow.name))
    return tuple(_named(one) for one in found if one["document"] is not None)


async def add(s: Session, named: Named) -> bool:
    """Store an edit; False if its number is taken."""
    return await _insert(s, named, to_json(named.strategy))


async def delete(s: Session, named: Named) -> bool:
    """Store that it was deleted, as an edit; False if its number is taken."""
    return await _insert(s, named, None)


async def models_with(s: Session, name: str) -> tuple[str, ...]:
    """Return the models whose default a strategy is."""
    statement = select(ModelRow.name).where(ModelRow.default_strategy == name)
    return tuple((await s.execute(statement.order_by(ModelRow.name))).scalars())


async def _insert(s: Session, named: Named, document: Mapping[str, Any] | None) -> bool:
    return await rows.insert_new(
        s,
        StrategyRow,
        name=named.name,
        number=named.number,
        document=document,
        created_at=named.created_at,
        created_by=named.created_by,
    )


def _named(row: Mapping[str, Any]) -> Named:
    strategy = parse(row["document"])
    return Named(row["name"], row["number"], strategy, row["created_at"], row["created_by"])
