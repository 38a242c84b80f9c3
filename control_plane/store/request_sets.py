"""Request sets in the database: small enough that every replica reads them from there."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, delete, select

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.domain.request_set import Form, RequestSet
from control_plane.store import deeds, rows
from control_plane.store.database import Page, Paged, Session, key_of
from control_plane.store.request_set_tables import RequestSetRow


async def add(s: Session, made: RequestSet, content: bytes) -> None:
    """Store a new set.

    Raises:
        AlreadyExists: the model has one of this name.
        NotFound: there is no such model.
    """
    if not await rows.insert_new(s, RequestSetRow, **rows.values_of(made), content=content):
        text = f"A request set {made.name} of {made.model} exists already."
        raise AlreadyExists(text, model=made.model, name=made.name)


async def request_set(s: Session, model: str, name: str) -> RequestSet:
    """Return a set.

    Raises:
        NotFound: the model has none of this name.
    """
    table = rows.table_of(RequestSetRow)
    found = await rows.all_of(s, _known().where(table.c.model == model, table.c.name == name))
    if not found:
        raise _missing(model, name)
    return _request_set(found[0])


async def request_sets(s: Session, model: str, page: Page = Page()) -> Paged[RequestSet]:  # noqa: B008
    """Return a page of a model's sets, by name."""
    table = rows.table_of(RequestSetRow)
    statement = _known().where(table.c.model == model)
    if key := key_of(page.after, str):
        statement = statement.where(table.c.name > key[0])
    found = await rows.all_of(s, statement.order_by(table.c.name).limit(page.size + 1))
    return page.of([_request_set(one) for one in found], lambda one: (one.name,))


async def newest(s: Session, model: str) -> RequestSet | None:
    """Return the set of a model that was uploaded last; None if it has none."""
    table = rows.table_of(RequestSetRow)
    latest = _known().where(table.c.model == model)
    order = (table.c.created_at.desc(), table.c.name)
    found = await rows.all_of(s, latest.order_by(*order).limit(1))
    return _request_set(found[0]) if found else None


async def content(s: Session, model: str, name: str) -> bytes:
    """Return what was uploaded.

    Raises:
        NotFound: the model has none of this name.
    """
    table = rows.table_of(RequestSetRow)
    wanted = select(table.c.content).where(table.c.model == model, table.c.name == name)
    found: bytes | None = (await s.execute(wanted)).scalar()
    if found is None:
        raise _missing(model, name)
    return found


async def remove(s: Session, model: str, name: str) -> None:
    """Forget a set.

    Raises:
        NotFound: the model has none of this name.
    """
    table = rows.table_of(RequestSetRow)
    gone = delete(table).where(table.c.model == model, table.c.name == name)
    if (await s.execute(gone.returning(table.c.name))).first() is None:
        raise _missing(model, name)
    deeds.changed(s, "request_sets", {"model": model, "name": name}, None)


def _known() -> Select[Any]:
    table = rows.table_of(RequestSetRow)
    return select(*(one for one in table.columns if one.name != "content"))


def _request_set(row: Mapping[str, Any]) -> RequestSet:
    return RequestSet(**{**row, "form": Form(row["form"])})


def _missing(model: str, name: str) -> NotFound:
    text = f"There is no request set {name} of {model}."
    return NotFound(text, hint=f"tfsctl model request-set list {model}", model=model, name=name)
