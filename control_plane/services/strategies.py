"""Strategies: what there is to choose from, and which one a promotion follows.

An edit never touches a live rollout: that has its steps from its start. A name of ours stands for
what is built in until somebody edits it; only `direct` always means the same.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from control_plane.domain.errors import (
    Conflict,
    FieldInvalid,
    NotFound,
    PreconditionFailed,
    StillInUse,
)
from control_plane.domain.events import Event, EventKind
from control_plane.domain.strategy import BUILT_IN, DIRECT, Named, Strategy, to_json
from control_plane.services.commit import Commit
from control_plane.store import journal
from control_plane.store import strategies as store
from control_plane.store.database import Database, Page, Paged, Session


async def show(db: Database, name: str, number: int | None = None) -> Named:
    """Return a strategy as it is now, or as an edit left it.

    Raises:
        NotFound: no such strategy or edit.
    """
    async with db.read() as s:
        return await (find(s, name) if number is None else find_edit(s, name, number))


async def find(s: Session, name: str) -> Named:
    """Return a strategy as it is now.

    Raises:
        NotFound: there is none of this name.
    """
    found = None if name == DIRECT.name else await store.newest(s, name)
    if isinstance(found, Named):
        return found
    if name not in BUILT_IN:
        raise NotFound(f"there is no strategy {name}", hint="tfsctl strategy list", strategy=name)
    return BUILT_IN[name]


async def find_edit(s: Session, name: str, number: int) -> Named:
    """Return a strategy as an edit left it, deleted since or not; 0 is what is built in.

    Raises:
        NotFound: no such edit.
    """
    found = BUILT_IN.get(name) if number == 0 else await store.edit(s, name, number)
    if found is None:
        raise NotFound(f"there is no edit {number} of strategy {name}", strategy=name)
    return found


async def listed(db: Database) -> tuple[Named, ...]:
    """Return every strategy as it is now, by name."""
    async with db.read() as s:
        stored = {one.name: one for one in await store.all_newest(s)}
    return tuple(one for _, one in sorted({**BUILT_IN, **stored}.items()))


async def edits(db: Database, name: str, page: Page) -> Paged[Named]:
    """Return the edits of a strategy, the newest first.

    Raises:
        NotFound: there never was one of this name.
    """
    async with db.read() as s:
        if not await store.newest(s, name):
            await find(s, name)
        return await store.edits(s, name, page)


async def put(
    db: Database,
    name: str,
    strategy: Strategy,
    *,
    event: Event,
    expected: int | None,
    commit: Commit[Named],
) -> Named:
    """Make a strategy this from now on; `event` says who and when. What is so already stays.

    Raises:
        Conflict: the name is `direct` or `default`, or somebody edited it in the same moment.
        PreconditionFailed: it is not at `expected` any more.
    """
    _refuse_reserved(name)
    async with db.begin() as s:
        found = await store.newest(s, name)
        _check_number(expected, found)
        made = found
        if not isinstance(found, Named) or found.strategy != strategy:
            made = await _edited(s, name, strategy, event)
        assert isinstance(made, Named)  # noqa: S101 - narrows for mypy
        await commit(s, made)
    return made


async def delete(
    db: Database, name: str, *, event: Event, expected: int | None, commit: Commit[None]
) -> None:
    """Delete a strategy; its edits stay readable, and a name of ours means what is built in again.

    Raises:
        NotFound: it does not exist, or was never edited.
        Conflict: the name is `direct` or `default`.
        StillInUse: it is the default of a model, and nothing built in takes its place.
        PreconditionFailed: it is not at `expected` any more.
    """
    _refuse_reserved(name)
    async with db.begin() as s:
        found = await store.newest(s, name)
        if not isinstance(found, Named):
            raise NotFound(f"there is no strategy {name} to delete", strategy=name)
        _check_number(expected, found)
        used = await store.models_with(s, name)
        if used and name not in BUILT_IN:
            text = f"{name} is the default of {', '.join(used[:5])}"
            raise StillInUse(text, hint="give them another default first", held=list(used[:100]))
        gone = replace(found, number=found.number + 1, created_at=event.at, created_by=event.actor)
        if not await store.delete(s, gone):
            raise _lost_race(name)
        await journal.append(s, replace(event, data={"strategy": name, "number": gone.number}))
        await commit(s, None)


async def chosen(s: Session, asked: str, defaults: Iterable[str], labels: Iterable[str]) -> Named:
    """Return the strategy that a promotion follows: the one it asks for, else its models' default.

    A default is for what it can be followed for: a label that it uses for trying out is moved
    directly.

    Raises:
        FieldInvalid: there is no such strategy; it cannot move this label; or none is asked for
            and the models have different defaults.
    """
    moving = set(labels)
    if asked:
        named = await _asked(s, asked)
        if clash := sorted(moving & set(named.strategy.canaries)):
            text = f"{asked} uses the label {clash[0]} for trying out, so it cannot promote it"
            raise FieldInvalid("strategy", text, hint='"direct" moves it at once')
        return named
    names = {one or DIRECT.name for one in defaults}
    if len(names) > 1:
        text = f"these models have different defaults: {', '.join(sorted(names))}"
        raise FieldInvalid("strategy", text, hint="say which strategy they follow together")
    named = await _asked(s, names.pop()) if names else DIRECT
    return DIRECT if moving & set(named.strategy.canaries) else named


async def _asked(s: Session, name: str) -> Named:
    try:
        return await find(s, name)
    except NotFound as error:
        raise FieldInvalid("strategy", error.message, hint=error.hint) from None


async def check_default(s: Session, name: str) -> None:
    """Let pass what may be a model's default.

    Raises:
        FieldInvalid: no such strategy.
    """
    if name:
        try:
            await find(s, name)
        except NotFound as error:
            raise FieldInvalid("default_strategy", error.message, hint=error.hint) from None


def strategy_json(named: Named) -> dict[str, Any]:
    """A strategy, as the API shows it."""
    return {
        "name": named.name,
        "number": named.number,
        "built_in": named.number == 0,
        **to_json(named.strategy),
        "created_at": named.created_at and named.created_at.isoformat(),
        "created_by": named.created_by,
    }


def _refuse_reserved(name: str) -> None:
    if name == DIRECT.name:
        raise Conflict("direct is built in and always means the same", hint="take another name")
    if name == "default":
        raise Conflict("default stands for a model's own", hint="take another name")


def _check_number(expected: int | None, found: Named | int) -> None:
    actual = found.number if isinstance(found, Named) else 0
    if expected is not None and expected != actual:
        raise PreconditionFailed(expected=expected, actual=actual)


async def _edited(s: Session, name: str, strategy: Strategy, event: Event) -> Named:
    found = await store.newest(s, name)
    last = found.number if isinstance(found, Named) else found
    made = Named(name, last + 1, strategy, event.at, event.actor)
    if not await store.add(s, made):
        raise _lost_race(name)
    data = {"strategy": name, "number": made.number, **to_json(strategy)}
    await journal.append(s, replace(event, kind=EventKind.STRATEGY_CHANGED, data=data))
    return made


def _lost_race(name: str) -> Conflict:
    return Conflict(f"somebody edited the strategy {name} in the same moment", strategy=name)
