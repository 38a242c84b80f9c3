"""The doctor: gathers what is known of servers, looks at storage and REST ports, asks nothing else.

The servers' gRPC is left to the loop. Looks have deadlines and are made outside of any transaction.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from control_plane.domain import artifact
from control_plane.domain.artifact import Broken, Complete
from control_plane.domain.diagnosis import diagnose
from control_plane.domain.errors import ArtifactMissing, NotFound
from control_plane.domain.events import EventKind
from control_plane.domain.finding import Facts, Finding, Front, Place, worst
from control_plane.domain.fleet import Server, our_path
from control_plane.domain.observed import Presence
from control_plane.services.artifacts import fault_of, in_thread
from control_plane.services.sight import Sight, look
from control_plane.services.views import server_status
from control_plane.serving import front, saved_model
from control_plane.store import catalog, journal
from control_plane.store.database import Database, Session

Json = dict[str, Any]
LOOK_S: Final = 2.0
LOOKS_AT_A_TIME: Final = 16
MOST_EVENTS: Final = 400  # of each server
_KINDS: Final = (
    EventKind.SERVER_RELOADED,
    EventKind.VERSION_STATE_CHANGED,
    EventKind.SERVER_DRIFTED,
)


@dataclass(frozen=True, slots=True)
class _Patient:
    """One server, what is known of it, and how its loop says that it stands."""

    facts: Facts
    status: str
    sentence: str


async def of_server(db: Database, fleet: str, server: str, clock: Callable[[], datetime]) -> Json:
    """Return what is found about one server.

    Raises:
        NotFound: no such fleet or server.
    """
    found = await _examine(db, fleet, server, clock)
    if not found:
        raise NotFound(f"the fleet {fleet} has no server {server}", fleet=fleet, server=server)
    return found[0]


async def of_fleet(db: Database, fleet: str, clock: Callable[[], datetime]) -> Json:
    """Return what is found about each server of a fleet; none is ok where there are none.

    Raises:
        NotFound: no such fleet.
    """
    servers = await _examine(db, fleet, "", clock)
    verdicts = [one["verdict"] for one in servers]
    verdict = next((one for one in ("problem", "unknown") if one in verdicts), "ok")
    return {"fleet": fleet, "verdict": verdict, "servers": servers}


async def _examine(
    db: Database, fleet: str, server: str, clock: Callable[[], datetime]
) -> list[Json]:
    async with db.read() as s:
        sight = await look(s, fleet)
        chosen = [one for one in sight.servers if server in ("", one.name)]
        known = [await _known(s, sight, one, clock()) for one in chosen]
    turns = asyncio.Semaphore(LOOKS_AT_A_TIME)
    storage = _Storage(turns)
    seen = await asyncio.gather(*(_seen(one, storage, turns, clock) for one in known))
    return [_told(one) for one in seen]


async def _known(s: Session, sight: Sight, server: Server, now: datetime) -> _Patient:
    """What the database says."""
    observed, last_seen = sight.of(server.name), sight.last_seen.get(server.name)
    places = {}
    for name, target in sight.targets_of(server.name).items():
        base_path = (await catalog.model(s, name)).base_path
        visible = sight.fleet.storage == "visible"
        ours = our_path(sight.fleet.path_map, base_path) if visible else ""
        places[name] = Place(base_path, ours, target.versions)
    told = await journal.of_server(s, server.fleet, server.name, _KINDS, MOST_EVENTS)
    status, sentence = server_status(sight, server)
    facts = Facts(
        now=now.timestamp(),
        server=server,
        observed=observed,
        last_seen=max(observed.at, last_seen.timestamp() if last_seen else 0.0),
        places=places,
        history=[one for one in told if one.at.timestamp() >= observed.restarted_at],
    )
    return _Patient(facts, status, sentence)


class _Storage:
    """Looks at each place once, however many servers share it."""

    def __init__(self, turns: asyncio.Semaphore) -> None:
        self._turns = turns
        self._looks: dict[tuple[str, frozenset[int]], asyncio.Task[Presence]] = {}

    async def presence(self, place: Place) -> Presence:
        key = (place.ours, place.versions)
        if key not in self._looks:
            self._looks[key] = asyncio.create_task(self._look(place))
        return await self._looks[key]

    async def _look(self, place: Place) -> Presence:
        look_there = partial(saved_model.presence, place.ours, place.versions)
        async with self._turns:
            try:
                return _presence(await in_thread(look_there, LOOK_S))
            except ArtifactMissing:
                return Presence()


def _presence(found: artifact.Presence) -> Presence:
    versions = found.versions
    return Presence(
        base_path=found.base_exists,
        complete=frozenset(n for n, one in versions.items() if isinstance(one, Complete)),
        faults={n: text for n, one in versions.items() if (text := fault_of(one))},
        broken=frozenset(n for n, one in versions.items() if isinstance(one, Broken)),
    )


async def _seen(
    patient: _Patient, storage: _Storage, turns: asyncio.Semaphore, clock: Callable[[], datetime]
) -> _Patient:
    """Add what storage and the REST port show."""
    facts = patient.facts

    async def place(one: Place) -> Place:
        return replace(one, presence=await storage.presence(one)) if one.ours else one

    places = await asyncio.gather(*(place(one) for one in facts.places.values()))
    seen: Mapping[str, Place] = dict(zip(facts.places, places, strict=True))
    found = await _front(facts.server.rest_address, turns, clock)
    return replace(patient, facts=replace(facts, places=seen, front=found))


async def _front(
    address: str, turns: asyncio.Semaphore, clock: Callable[[], datetime]
) -> Front | None:
    if not address:
        return None
    async with turns:
        return await front.look(address, clock, LOOK_S)


def _told(patient: _Patient) -> Json:
    server, findings = patient.facts.server, diagnose(patient.facts)
    return {
        "fleet": server.fleet,
        "server": server.name,
        "address": server.address,
        "status": patient.status,
        "sentence": patient.sentence,
        "verdict": str(worst(findings)),
        "findings": [_finding(one) for one in findings],
    }


def _finding(one: Finding) -> Json:
    return {
        "check": str(one.check),
        "verdict": str(one.verdict),
        "found": one.found,
        "fix": one.fix,
        "find_out": one.find_out,
    }
