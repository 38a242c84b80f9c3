"""Request sets: uploaded once, checked whole before they are stored, and never changed after."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from control_plane.domain.errors import ArtifactBroken, Invalid
from control_plane.domain.events import Event, EventKind
from control_plane.domain.request_set import RequestSet
from control_plane.domain.signature import Signatures, from_json
from control_plane.services.commit import Commit
from control_plane.serving.request_set import checked
from control_plane.store import catalog, journal
from control_plane.store import request_sets as store
from control_plane.store.database import Database, Page, Paged


async def add(
    db: Database,
    key: tuple[str, str],
    content: bytes,
    *,
    actor: str,
    now: datetime,
    commit: Commit[RequestSet],
) -> RequestSet:
    """Store a set under a model and a name.

    Raises:
        NotFound: no such model.
        Invalid: a request cannot be replayed; the message and `record` say which.
        AlreadyExists: the name is taken.
    """
    model, name = key
    known = await _signatures(db, model)
    try:
        form, count = await asyncio.to_thread(checked, content, known)
    except ArtifactBroken as error:
        raise Invalid(error.message, **error.details) from None
    sha256 = hashlib.sha256(content).hexdigest()
    made = RequestSet(model, name, form, count, len(content), sha256, now, actor)
    event = Event(EventKind.REQUEST_SET_CREATED, now, actor, model=model)
    async with db.begin() as s:
        await catalog.model(s, model)
        await store.add(s, made, content)
        await journal.append(s, replace(event, data=_told(made)))
        await commit(s, made)
    return made


async def delete(
    db: Database, key: tuple[str, str], *, actor: str, now: datetime, commit: Commit[None]
) -> None:
    """Delete a set; a gate that names it fails from then on.

    Raises:
        NotFound: no such set.
    """
    async with db.begin() as s:
        gone = await store.request_set(s, *key)
        await store.remove(s, *key)
        event = Event(EventKind.REQUEST_SET_DELETED, now, actor, model=gone.model)
        await journal.append(s, replace(event, data=_told(gone)))
        await commit(s, None)


async def show(db: Database, model: str, name: str) -> RequestSet:
    """Return a set without its requests.

    Raises:
        NotFound: no such set.
    """
    async with db.read() as s:
        return await store.request_set(s, model, name)


async def listed(db: Database, model: str, page: Page) -> Paged[RequestSet]:
    """Return a page of a model's sets, by name.

    Raises:
        NotFound: no such model.
    """
    async with db.read() as s:
        await catalog.model(s, model)
        return await store.request_sets(s, model, page)


def request_set_json(one: RequestSet) -> dict[str, Any]:
    """A set, as the API shows it."""
    return {
        "model": one.model,
        "name": one.name,
        "form": str(one.form),
        "records": one.records,
        "size_bytes": one.size_bytes,
        "sha256": one.sha256,
        "created_at": one.created_at.isoformat(),
        "created_by": one.created_by,
    }


async def _signatures(db: Database, model: str) -> list[Signatures]:
    """What is known of the model's versions, the highest first, each kind once."""
    async with db.read() as s:
        await catalog.model(s, model)
        versions = await catalog.all_versions(s, model)
    found: list[Signatures] = []
    for one in sorted(versions, key=lambda one: -one.number):
        if one.signatures and (read := from_json(one.signatures)) not in found:
            found.append(read)
    return found


def _told(one: RequestSet) -> dict[str, Any]:
    said = {"request_set": one.name, "form": str(one.form), "records": one.records}
    return said | {"size_bytes": one.size_bytes, "sha256": one.sha256}
