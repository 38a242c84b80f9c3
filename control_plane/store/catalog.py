"""Models and versions in the database."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, or_, select

from control_plane.domain.catalog import Model, Version
from control_plane.domain.errors import AlreadyExists
from control_plane.store import deeds, rows
from control_plane.store.database import Page, Paged, Session, key_of
from control_plane.store.tables import DeletedVersionRow, ModelRow, VersionRow

_THESE: BindParameter[Any] = bindparam("models", expanding=True)
_VERSIONS_OF = rows.columns_of(VersionRow).where(VersionRow.model.in_(_THESE))
_THESE_VERSIONS = rows.columns_of(VersionRow).where(
    VersionRow.model == bindparam("model"),
    VersionRow.number.in_(bindparam("numbers", expanding=True)),
)
_NUMBERS = (
    select(VersionRow.number)
    .where(VersionRow.model == bindparam("model"))
    .order_by(VersionRow.number)
)
_SIZES = select(VersionRow.model, VersionRow.number, VersionRow.size_bytes).where(
    VersionRow.model.in_(_THESE)
)
_BASE_PATHS = select(ModelRow.name, ModelRow.base_path).where(ModelRow.name.in_(_THESE))


async def add_model(s: Session, model: Model) -> None:
    """Store a new model.

    Raises:
        AlreadyExists: a model of this name exists.
    """
    if not await rows.insert_new(s, ModelRow, **rows.values_of(model)):
        raise AlreadyExists(f"The model {model.name} exists already.", model=model.name)


async def model(s: Session, name: str) -> Model:
    """Return a model.

    Raises:
        NotFound: no such model.
    """
    return Model(**await rows.one_of(s, ModelRow, name=name))


async def models(s: Session, q: str = "", page: Page = Page()) -> Paged[Model]:  # noqa: B008
    """Return models by name; `q` is looked for in names, descriptions and owners."""
    statement = rows.columns_of(ModelRow).order_by(ModelRow.name).limit(page.size + 1)
    if q:
        found_in = (ModelRow.name, ModelRow.description, ModelRow.owner)
        statement = statement.where(or_(*(one.icontains(q, autoescape=True) for one in found_in)))
    if key := key_of(page.after, str):
        statement = statement.where(ModelRow.name > key[0])
    found = [Model(**one) for one in await rows.all_of(s, statement)]
    return page.of(found, lambda one: (one.name,))


async def model_names(s: Session) -> tuple[str, ...]:
    """Return the names of all models, in order."""
    return tuple(await s.scalars(select(ModelRow.name).order_by(ModelRow.name)))


async def save_model(s: Session, model: Model, expected_rv: int | None) -> Model:
    """Change a model's words; its base path and origin never change.

    Raises:
        NotFound: no such model.
        PreconditionFailed: it changed since it was read.
    """
    changes = rows.values_of(model, "name", "base_path", "created_at", "created_by", "rv")
    return replace(
        model, rv=await rows.save(s, ModelRow, {"name": model.name}, changes, expected_rv)
    )


async def delete_model(s: Session, name: str) -> None:
    """Delete a model with its versions; their digests are remembered.

    Raises:
        NotFound: no such model.
    """
    await rows.one_of(s, ModelRow, name=name)
    for one in await all_versions(s, name):
        await _remember_digest(s, one)
    await s.execute(delete(ModelRow).where(ModelRow.name == name))
    deeds.changed(s, "models", {"name": name}, None)


async def add_version(s: Session, version: Version) -> None:
    """Store a new version.

    Raises:
        AlreadyExists: this number is registered.
        NotFound: no such model.
    """
    await rows.one_of(s, ModelRow, name=version.model)
    if not await rows.insert_new(s, VersionRow, **rows.values_of(version)):
        text = f"Version {version.number} of {version.model} is registered already."
        raise AlreadyExists(text, model=version.model, version=version.number)


async def version(s: Session, model: str, number: int) -> Version:
    """Return a version.

    Raises:
        NotFound: no such version.
    """
    return _version(await rows.one_of(s, VersionRow, model=model, number=number))


async def versions(s: Session, model: str, page: Page = Page()) -> Paged[Version]:  # noqa: B008
    """Return a model's versions, the highest number first."""
    statement = rows.columns_of(VersionRow).where(VersionRow.model == model)
    if key := key_of(page.after, int):
        statement = statement.where(VersionRow.number < key[0])
    statement = statement.order_by(VersionRow.number.desc()).limit(page.size + 1)
    found = [_version(one) for one in await rows.all_of(s, statement)]
    return page.of(found, lambda one: (one.number,))


async def all_versions(s: Session, model: str) -> tuple[Version, ...]:
    """Return a model's versions, the lowest number first."""
    found = await rows.all_by(s, VersionRow, "number", model=model)
    return tuple(_version(one) for one in found)


async def these_versions(s: Session, model: str, numbers: Collection[int]) -> Mapping[int, Version]:
    """Return these versions of a model by number; those that are not registered are left out."""
    found = await s.execute(_THESE_VERSIONS, {"model": model, "numbers": sorted(numbers)})
    return {one["number"]: _version(one) for one in found.mappings()}


async def numbers(s: Session, model: str) -> tuple[int, ...]:
    """Return the numbers of a model's versions, the lowest first."""
    return tuple(await s.scalars(_NUMBERS, {"model": model}))


async def versions_of(s: Session, models: Collection[str]) -> Mapping[str, Mapping[int, Version]]:
    """Return the versions of several models by model and number; who has none is left out."""
    found: dict[str, dict[int, Version]] = {}
    for one in (await s.execute(_VERSIONS_OF, {"models": sorted(models)})).mappings():
        found.setdefault(one["model"], {})[one["number"]] = _version(one)
    return found


async def sizes(s: Session, models: Collection[str]) -> Mapping[tuple[str, int], int]:
    """Return the bytes on disk of every version of these models, by model and number."""
    found = await s.execute(_SIZES, {"models": sorted(models)})
    return {(model, number): size_bytes for model, number, size_bytes in found}


async def base_paths(s: Session, models: Collection[str]) -> Mapping[str, str]:
    """Return the base path of each of these models that there is."""
    found = await s.execute(_BASE_PATHS, {"models": sorted(models)})
    return {str(name): str(base_path) for name, base_path in found}


async def save_version(s: Session, version: Version, expected_rv: int | None) -> Version:
    """Change what is known or said of a version.

    Raises:
        NotFound: no such version.
        PreconditionFailed: it changed since it was read.
    """
    key = {"model": version.model, "number": version.number}
    changes = rows.values_of(version, "model", "number", "created_at", "created_by", "rv")
    return replace(version, rv=await rows.save(s, VersionRow, key, changes, expected_rv))


async def delete_version(s: Session, model: str, number: int) -> None:
    """Delete a version; its digest is remembered.

    Raises:
        NotFound: no such version.
    """
    await _remember_digest(s, await version(s, model, number))
    where = (VersionRow.model == model, VersionRow.number == number)
    await s.execute(delete(VersionRow).where(*where))
    deeds.changed(s, "versions", {"model": model, "number": number}, None)


async def deleted_digest(s: Session, model: str, number: int) -> str | None:
    """Return the digest that a deleted version had: it may come back only with the same."""
    found = await rows.maybe_one(s, DeletedVersionRow, model=model, number=number)
    return None if found is None else str(found["digest"])


async def pending_digests(s: Session, limit: int) -> tuple[Version, ...]:
    """Return complete versions whose digest is not known yet, the oldest first."""
    statement = rows.columns_of(VersionRow).where(VersionRow.digest == "", VersionRow.fault == "")
    order = (VersionRow.created_at, VersionRow.model, VersionRow.number)
    found = await rows.all_of(s, statement.order_by(*order).limit(limit))
    return tuple(_version(one) for one in found)


async def _remember_digest(s: Session, version: Version) -> None:
    if version.digest:
        key = {"model": version.model, "number": version.number}
        await rows.upsert(s, DeletedVersionRow, **key, digest=version.digest)


def _version(row: Mapping[str, Any]) -> Version:
    return Version(**row)
