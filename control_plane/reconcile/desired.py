"""Reads what a fleet should serve, once for all passes that ask at the same time.

Whoever changes it says so, and from then on nobody gets a read that began before. What others
change is seen at the next resync; a push checks in its own transaction that it was made from the
newest revision, so what was rolled back is never followed by an older flip.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from control_plane.domain.errors import NotFound
from control_plane.domain.rollout import Rollout
from control_plane.domain.steps import State, StepTarget, desired_models
from control_plane.reconcile.assignments import Desired, Heads, Live
from control_plane.services.transitions import around
from control_plane.store import catalog, fleets, revisions, rollouts
from control_plane.store.database import Database, Session


class DesiredState:
    """The newest read of every fleet."""

    def __init__(self, db: Database, note: Callable[[Desired], None] = lambda _: None) -> None:
        self._db = db
        self._note = note  # is told of every read before anybody acts on it
        self._known: dict[str, Desired] = {}
        self._running: dict[str, asyncio.Task[Desired]] = {}
        self._next: dict[str, asyncio.Task[Desired]] = {}
        self._doubts: Counter[str] = Counter()  # how often a fleet was doubted
        self._asked: dict[str, int] = {}  # the doubts that the read under way answers
        self._certain: dict[str, int] = {}  # the doubts that the last read has answered

    def known(self, fleet: str) -> Desired | None:
        """Return the last read, however old."""
        return self._known.get(fleet)

    def doubt(self, fleet: str) -> None:
        """Note that the last read may be out of date."""
        self._doubts[fleet] += 1

    def believed(self, fleet: str) -> Desired | None:
        """Return the last read unless somebody doubts it."""
        return self._known.get(fleet) if self._certain.get(fleet) == self._doubts[fleet] else None

    def moved(self, rollout: Rollout) -> None:
        """Note what we wrote of a rollout ourselves; what ended changes more than we know."""
        known = self.believed(rollout.fleet)
        if known is None or not rollout.phase.live:
            self.doubt(rollout.fleet)
            return
        live = tuple(
            replace(one, rollout=rollout) if one.rollout.id == rollout.id else one
            for one in known.live
        )
        self._known[rollout.fleet] = replace(known, live=live, targets=_targets(known.heads, live))

    def forget(self, fleet: str) -> None:
        """Drop what is known of a fleet that is gone."""
        self._known.pop(fleet, None)
        self._certain.pop(fleet, None)

    async def certain(self, fleet: str) -> Desired:
        """Return a read that answers every doubt so far; one under way may do.

        Raises:
            NotFound: no such fleet.
            StoreBusy: the database is busy.
        """
        if (known := self.believed(fleet)) is not None:
            return known
        running = self._running.get(fleet)
        if running is None or running.done() or self._asked[fleet] != self._doubts[fleet]:
            return await self.fresh(fleet)
        return await asyncio.shield(running)

    async def fresh(self, fleet: str) -> Desired:
        """Return a read that begins after this call.

        Raises:
            NotFound: no such fleet.
            StoreBusy: the database is busy.
        """
        if fleet not in self._next:
            after = self._running.get(fleet)
            self._next[fleet] = asyncio.create_task(self._read_after(fleet, after))
        return await asyncio.shield(self._next[fleet])

    async def close(self) -> None:
        """Cancel reads under way."""
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_after(self, fleet: str, running: asyncio.Task[Desired] | None) -> Desired:
        if running is not None:
            await asyncio.wait([running])
        self._running[fleet] = self._next.pop(fleet)
        doubts = self._asked[fleet] = self._doubts[fleet]
        async with self._db.glance() as s:
            found = await read(s, fleet, self._known.get(fleet))
        self._known[fleet], self._certain[fleet] = found, doubts
        self._note(found)
        return found


async def read(s: Session, name: str, known: Desired | None) -> Desired:
    """Read a fleet's desired state; what cannot have changed since `known` is taken from it.

    Raises:
        NotFound: no such fleet.
    """
    fleet = await fleets.fleet(s, name)
    servers = {one.name: one for one in await fleets.servers(s, name)}
    live = await rollouts.live(s, name)
    same_head = known is not None and known.fleet.head == fleet.head
    heads = known.heads if known and same_head else await _heads(s, name)
    journeys = tuple([await _journey(s, one, known, (fleet.head, heads)) for one in live])
    targets = _targets(heads, journeys)
    paths = {model: await _base_path(s, model, known) for model in targets}
    ours = fleet.take_over == "always" or all(one.taken_over for one in servers.values())
    known_to_all = ours and fleet.on_drift != "adopt"
    registered = () if known_to_all else await catalog.model_names(s)
    return Desired(fleet, servers, heads, journeys, targets, paths, registered)


def _targets(heads: Heads, live: tuple[Live, ...]) -> Mapping[str, StepTarget]:
    return desired_models(
        {model: one for model, (one, _) in heads.items()},
        [(one.rollout, one.before, one.after) for one in live],
        {model: revision for model, (_, revision) in heads.items()},
    )


async def _heads(s: Session, fleet: str) -> Heads:
    found = await revisions.head(s, fleet)
    return {model: (one.deployment, one.revision) for model, one in found.items()}


async def _journey(
    s: Session, rollout: Rollout, known: Desired | None, head: tuple[int, Heads]
) -> Live:
    """A rollout with its two ends, which are revisions and so never change."""
    ends = (rollout.from_revision, rollout.to_revision)
    for one in known.live if known else ():
        if one.rollout.id == rollout.id and ends == (
            one.rollout.from_revision,
            one.rollout.to_revision,
        ):
            return Live(rollout, one.before, one.after)
    if known is not None and ends == (known.fleet.head, head[0]):
        return Live(rollout, _state(rollout, known.heads), _state(rollout, head[1]))
    return Live(rollout, *await around(s, rollout))


def _state(rollout: Rollout, heads: Heads) -> State:
    return {model: heads[model][0] if model in heads else None for model in rollout.models}


async def _base_path(s: Session, model: str, known: Desired | None) -> str:
    """A base path is fixed while its model is deployed."""
    if known is not None and model in known.base_paths:
        return known.base_paths[model]
    try:
        return (await catalog.model(s, model)).base_path
    except NotFound as error:
        raise NotFound(f"{model} is deployed but not in the catalog", model=model) from error
