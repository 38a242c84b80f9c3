"""Models and versions: what is registered, only after a look at what is there.

Storage is looked at before the transaction, never inside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from control_plane.domain import catalog as domain
from control_plane.domain import signature
from control_plane.domain.artifact import Absent, Artifact, Complete
from control_plane.domain.catalog import Model, Version
from control_plane.domain.errors import ArtifactMissing, Conflict, NotFound
from control_plane.domain.events import Event, EventKind
from control_plane.domain.signature import Verdict
from control_plane.services import artifacts
from control_plane.services.commit import Commit
from control_plane.services.holders import refuse_held_model, refuse_held_version
from control_plane.services.strategies import check_default
from control_plane.store import catalog as store
from control_plane.store import fleets, journal
from control_plane.store.database import Database, Page, Paged, Session

HASHED_AT_ONCE_BYTES: Final = 64 << 20  # more than this is hashed in the background


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan found: numbers registered now, known before, and names with their faults."""

    added: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    registered: tuple[Version, ...] = ()


async def create_model(db: Database, model: Model, *, force: bool, commit: Commit[Model]) -> Model:
    """Create a model.

    Raises:
        AlreadyExists: the name is taken.
        ArtifactMissing: its base path is not seen, and `force` is not set.
        FieldInvalid: the base path is relative, or a version's directory.
    """
    checked = replace(model, base_path=domain.check_base_path(model.base_path))
    try:
        await artifacts.check_base_path(await _places(db, checked.base_path))
    except ArtifactMissing:
        if not force:
            raise
    async with db.begin() as s:
        await store.add_model(s, checked)
        event = Event(EventKind.MODEL_CREATED, model.created_at, model.created_by, model=model.name)
        await journal.append(s, replace(event, data={"base_path": checked.base_path}))
        await commit(s, checked)
    return checked


async def change_model(
    db: Database,
    name: str,
    changes: Mapping[str, Any],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[Model],
) -> Model:
    """Change words about a model; `event` says who and when."""
    async with db.begin() as s:
        changed = replace(await store.model(s, name), **changes)
        await check_default(s, changes.get("default_strategy", ""))
        saved = await store.save_model(s, changed, expected_rv)
        await journal.append(s, replace(event, model=name, data={"changed": dict(changes)}))
        await commit(s, saved)
    return saved


async def delete_model(
    db: Database, name: str, *, expected_rv: int | None, event: Event, commit: Commit[None]
) -> None:
    """Delete a model and its versions; files stay.

    Raises:
        StillInUse: a fleet serves it, or a server was last seen with it.
    """
    async with db.begin() as s:
        await refuse_held_model(s, name)
        await store.save_model(s, await store.model(s, name), expected_rv)
        await store.delete_model(s, name)
        await journal.append(s, replace(event, model=name))
        await commit(s, None)


async def register(
    db: Database, version: Version, *, force: bool, commit: Commit[Version]
) -> Version:
    """Register a version; one that is partial or broken says so and is not promotable as it is.

    Raises:
        ArtifactMissing: its directory is not seen, and `force` is not set.
        Conflict: the number was deleted, and had other files.
    """
    domain.check_version("version", version.number)
    base_path = (await model(db, version.model)).base_path
    read = await looked_at(db, version, base_path, force=force)
    async with db.begin() as s:
        await enter(s, read)
        await commit(s, read)
    return read


async def looked_at(db: Database, version: Version, base_path: str, *, force: bool) -> Version:
    """Return a version with what its files show; they are under this base path.

    Raises:
        ArtifactMissing: its directory is not seen, and `force` is not set.
    """
    where = await _places(db, base_path)
    artifact = await artifacts.one_version(where, version.number)
    if isinstance(artifact, Absent) and not force:
        looked_for = [f"{place}/{version.number}" for place in where]
        raise ArtifactMissing(
            artifact.reason, hint="force goes on all the same", looked_for=looked_for
        )
    return await _with_digest(db, _read(version, artifact), where)


async def scan(
    db: Database, name: str, *, actor: str, now: datetime, commit: Commit[Scanned]
) -> Scanned:
    """Register every complete version under the base path; look again at those with a fault.

    Raises:
        ArtifactMissing: the base path is not seen.
    """
    base_path = (await model(db, name)).base_path
    where = await _places(db, base_path)
    found = await artifacts.all_versions(where)
    async with db.read() as s:
        known = {one.number: one for one in await store.all_versions(s, name)}
    fresh = [
        await _with_digest(db, _read(Version(name, number, now, actor), artifact), where)
        for number, artifact in sorted(found.versions.items())
        if isinstance(artifact, Complete) and number not in known
    ]
    mended = [
        _read(one, artifact)
        for number, one in sorted(known.items())
        if one.fault and isinstance(artifact := found.versions.get(number), Complete)
    ]
    faults = {
        str(number): artifacts.fault_of(artifact)
        for number, artifact in found.versions.items()
        if not isinstance(artifact, Complete)
    }
    spoilt = dict.fromkeys(found.spoilt, "not the directory of a version")
    numbers = tuple(one.number for one in fresh)
    outcome = Scanned(numbers, tuple(sorted(known)), spoilt | faults, tuple(fresh))
    async with db.begin() as s:
        for one in fresh:
            await enter(s, one, journal_it=False)
        for one in mended:
            await store.save_version(s, one, None)
        await journal.append(s, *(_registered(one, actor, now) for one in (*fresh, *mended)))
        await commit(s, outcome)
    return outcome


async def change_version(
    db: Database,
    key: tuple[str, int],
    changes: Mapping[str, Any],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[Version],
) -> Version:
    """Change words about a version; `key` is model and number."""
    async with db.begin() as s:
        changed = replace(await store.version(s, *key), **changes)
        saved = await store.save_version(s, changed, expected_rv)
        data = {"version": key[1], "changed": dict(changes)}
        await journal.append(s, replace(event, model=key[0], data=data))
        await commit(s, saved)
    return saved


async def delete_version(
    db: Database,
    key: tuple[str, int],
    *,
    expected_rv: int | None,
    event: Event,
    commit: Commit[None],
) -> None:
    """Forget a version; its files stay, and its digest is kept.

    Raises:
        StillInUse: a fleet serves it, or a server was last seen with it.
    """
    async with db.begin() as s:
        await refuse_held_version(s, *key)
        await store.save_version(s, await store.version(s, *key), expected_rv)
        await store.delete_version(s, *key)
        await journal.append(s, replace(event, model=key[0], data={"version": key[1]}))
        await commit(s, None)


async def model(db: Database, name: str) -> Model:
    """Return a model."""
    async with db.read() as s:
        return await store.model(s, name)


async def models(db: Database, q: str, page: Page) -> Paged[Model]:
    """Return a page of models."""
    async with db.read() as s:
        return await store.models(s, q, page)


async def version(db: Database, name: str, number: int) -> Version:
    """Return a version."""
    async with db.read() as s:
        return await store.version(s, name, number)


async def versions(db: Database, name: str, page: Page) -> Paged[Version]:
    """Return a page of a model's versions, the highest first."""
    async with db.read() as s:
        await store.model(s, name)
        return await store.versions(s, name, page)


async def diff(db: Database, name: str, *, before: int, after: int) -> Verdict:
    """Judge what callers of one version would notice if the other took its place."""
    async with db.read() as s:
        old, new = await store.version(s, name, before), await store.version(s, name, after)
    return signature.diff(signature.from_json(old.signatures), signature.from_json(new.signatures))


async def sample(db: Database, name: str, number: int, wanted: str) -> dict[str, Any]:
    """Make a valid `:predict` body for a signature of a version.

    Raises:
        NotFound: it has no such signature.
    """
    known = signature.from_json((await version(db, name, number)).signatures)
    if wanted not in known:
        has = ", ".join(sorted(known)) or "none"
        text = f"version {number} of {name} has no signature {wanted[:80]}"
        raise NotFound(text, hint=f"it has {has}", signature=wanted[:80])
    return signature.sample(known[wanted], wanted)


async def _places(db: Database, base_path: str) -> tuple[str, ...]:
    async with db.read() as s:
        return artifacts.places(await fleets.all_fleets(s), base_path)


def _read(version: Version, artifact: Artifact) -> Version:
    if not isinstance(artifact, Complete):
        return replace(version, fault=artifacts.fault_of(artifact))
    return replace(
        version,
        fault="",
        size_bytes=artifact.size_bytes,
        fingerprint=artifact.fingerprint,
        signatures=signature.to_json(artifact.signatures),
    )


async def _with_digest(db: Database, version: Version, where: tuple[str, ...]) -> Version:
    """Hash what is small at once, and whatever takes the number of a deleted version."""
    async with db.read() as s:
        deleted = await store.deleted_digest(s, version.model, version.number)
    if version.fault or (deleted is None and version.size_bytes > HASHED_AT_ONCE_BYTES):
        return version
    return replace(version, digest=await artifacts.digest(where, version.number))


async def enter(s: Session, version: Version, *, journal_it: bool = True) -> None:
    """Write a new version down.

    Raises:
        Conflict: the number was deleted, and had other files.
    """
    deleted = await store.deleted_digest(s, version.model, version.number)
    if deleted is not None and deleted != version.digest:
        text = f"version {version.number} of {version.model} was deleted, and had other files"
        hint = "a server may still hold them: use a number that was never used"
        raise Conflict(text, hint=hint, deleted_digest=deleted, digest=version.digest)
    await store.add_version(s, version)
    if journal_it:
        await journal.append(s, _registered(version, version.created_by, version.created_at))


def _registered(version: Version, actor: str, now: datetime) -> Event:
    data = {"version": version.number, "fault": version.fault, "size_bytes": version.size_bytes}
    return Event(EventKind.VERSION_REGISTERED, now, actor, model=version.model, data=data)
