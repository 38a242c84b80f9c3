"""What a request does, gathered while its write transaction runs, for the audit record at its end.

A deed belongs to the task that answers the request. Tasks which a request wakes or makes inherit
its context, and write for themselves: what the loop does is told by events, not audited.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from control_plane.domain.events import Event

_TOLD: Final[Mapping[str, frozenset[str]]] = {  # tables, and columns that are not told
    "deployments": frozenset(),
    "fleets": frozenset({"head"}),
    "holds": frozenset(),
    "hooks": frozenset({"seq"}),
    "models": frozenset(),
    "request_sets": frozenset({"content"}),
    "rollouts": frozenset({"steps", "laggards"}),
    "servers": frozenset({"last_seen_at"}),
    "sources": frozenset({"report"}),
    "strategies": frozenset(),
    "tokens": frozenset({"sha256", "last_used_at"}),
    "versions": frozenset({"signatures"}),
}
_ABOUT: Final = ("fleet", "model", "server", "rollout", "revision", "reason")


@dataclass(slots=True)
class Deed:
    """A request that may change something: who asks is filled in when it is known."""

    address: str
    request: str
    call: str
    actor: str = ""
    token: str = ""
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)


@dataclass(slots=True)
class Doing:
    """What one transaction did so far."""

    deed: Deed
    events: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[Any, Mapping[str, Any]] = field(default_factory=dict)  # rows, by table and key


_current: ContextVar[Deed | None] = ContextVar("deed", default=None)


@contextmanager
def doing(deed: Deed) -> Iterator[None]:
    """Have this task's write transactions audited as this deed's."""
    before = _current.set(deed)
    try:
        yield
    finally:
        _current.reset(before)


def by(actor: str, token: str) -> None:
    """Say who asks, as soon as it is known."""
    if deed := _current.get():
        deed.actor, deed.token = actor, token


def begin(s: AsyncConnection) -> Doing | None:
    """Begin to gather what a transaction does; None where nobody's request does it."""
    deed = _current.get()
    ours = deed is not None and deed.task is asyncio.current_task()
    s.info["doing"] = begun = Doing(deed) if deed is not None and ours else None
    return begun


def told(s: AsyncConnection, events: Sequence[Event]) -> None:
    """Remember events of this transaction; the journal has their data."""
    if here := s.info.get("doing"):
        here.events += [
            {"seq": one.seq, "kind": str(one.kind)}
            | {name: value for name in _ABOUT if (value := getattr(one, name))}
            for one in events
        ]


def saw(s: AsyncConnection, table: str, key: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Remember a row that was read: should it change, this is how it was."""
    if (here := s.info.get("doing")) and table in _TOLD:
        here.seen[table, *sorted(key.items())] = row


def seen(s: AsyncConnection, table: str, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what was remembered by this key."""
    here = s.info.get("doing")
    return here.seen.get((table, *sorted(key.items()))) if here else None


def changed(
    s: AsyncConnection, table: str, key: Mapping[str, Any], after: Mapping[str, Any] | None
) -> None:
    """Remember what a row has become; None: it is gone.

    Of one that was read before, what stays as it was is left out.
    """
    here = s.info.get("doing")
    if not here or table not in _TOLD:
        return
    where = (table, *sorted(key.items()))
    before = here.seen.get(where)
    was, now = _part(table, before, after), _part(table, after, before)
    if before is None or after is None or {*(was or ()), *(now or ())} - {"rv"}:
        change = {"of": table, "key": dict(key), "before": was, "after": now}
        here.changes.append(change)
    here.seen[where] = {**(before or {}), **(after or {})}


def _part(
    table: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return what a row says that another version of it does not; None where there is none."""
    if one is None:
        return None
    shared = {} if other is None else {name: other[name] for name in one if name in other}
    partly = other is not None
    return {
        name: value
        for name, value in one.items()
        if name not in _TOLD[table]
        and (name in shared or not partly)
        and not (name in shared and shared[name] == value)
    }
