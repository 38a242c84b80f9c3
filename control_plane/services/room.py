"""Fits a change into the memory that servers are said to have: see `domain.room`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from control_plane.domain.promotion import STABLE
from control_plane.domain.revision import Kind
from control_plane.domain.room import Load, Room, make_room
from control_plane.store import catalog, rollouts
from control_plane.store.database import Session


async def fit(
    s: Session, fleet: str, load: Load, memory: Mapping[str, int], kind: Kind
) -> tuple[Room, tuple[str, ...]]:
    """Return how a change is made to fit, and what of that a person wants to know.

    `memory` holds the bytes of the servers of which they are known; the least counts. A rollback
    makes no room: it waits for nothing.
    """
    if not memory or kind is Kind.ROLLBACK:
        return Room(load.after, {}), ()
    sizes = await catalog.sizes(s, {*load.head, *load.after})
    kept = await _kept(s, fleet, load) if kind is Kind.PROMOTE else {}
    room = make_room(replace(load, sizes=sizes, kept=kept), min(memory.values()))
    return room, tuple(_told(room, load, memory))


async def _kept(s: Session, fleet: str, load: Load) -> dict[str, frozenset[int]]:
    """What a promotion keeps for a way back alone; what a person listed is not among it."""
    found = {}
    for model, one in load.after.items():
        if one is not None:
            passed = {past.version for past in await rollouts.verified(s, fleet, model, STABLE)}
            found[model] = one.versions & passed - frozenset(one.labels.values())
    return found


def _told(room: Room, load: Load, memory: Mapping[str, int]) -> Iterator[str]:
    least = min(memory.values())
    short = ", ".join(sorted(name for name, has in memory.items() if has == least))
    for model, versions in sorted(room.first.items()):
        before = load.after.get(model)
        for version in sorted(versions):
            text = f"{model} {version} goes before anything is loaded: memory is short on {short}"
            cold = before is not None and version in before.versions
            yield f"{text}; it is not kept, so a way back to it takes a load" if cold else text
