"""What the leader of a fleet writes of its sources: servers come, are missed, leave, and count.

Every write is conditional on the leader's epoch. A server that comes is registered like any other,
but it does not count for rollouts until it has had its whole config.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.domain.address import Address, parse_address
from control_plane.domain.advance import LOOP_ACTOR
from control_plane.domain.discovery import Conclusion
from control_plane.domain.errors import AlreadyExists
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Fleet, Server
from control_plane.domain.source import Report, Source
from control_plane.store import fleets, journal, leases
from control_plane.store import sources as store
from control_plane.store.database import Database, Session

MOST_AT_ONCE: Final = 200  # who come together; the others come with the next look
MOST_REMEMBERED: Final = 1_000  # addresses that left, the newest


@dataclass(frozen=True, slots=True)
class Finding:
    """A look at a source, as it was when we looked."""

    source: Source
    before: Report
    conclusion: Conclusion


@dataclass(slots=True)
class _Taking:
    """What is gathered while a finding is taken in."""

    finding: Finding
    home: Fleet
    now: datetime
    members: Mapping[str, Server]  # that the source found before, by address
    refused: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def tell(self, kind: EventKind, server: str = "", **data: object) -> None:
        """Add an event about the source or one of its servers."""
        told = {"source": self.finding.source.name, **data}
        at, fleet = self.now, self.home.name
        self.events.append(Event(kind, at, LOOP_ACTOR, fleet=fleet, server=server, data=told))


async def read(db: Database, fleet: str) -> tuple[tuple[Source, Report], ...]:
    """Return the sources of a fleet, each with what was found there last."""
    async with db.glance() as s:
        return await store.sources(s, fleet)


async def is_news(db: Database, finding: Finding, servers: Mapping[str, str]) -> bool:
    """Say whether a finding changes anything; `servers` are the fleet's, names by address.

    Mostly it does not, and then nothing is written.
    """
    before, found = finding.before, finding.conclusion
    if found.fault != before.fault or found.leaving:
        return True
    if found.listed is None:
        return False
    strange = found.listed - servers.keys()
    same = tuple(sorted(found.listed)) == before.addresses and strange == before.refused.keys()
    if not same or found.missing != before.missing.keys():
        return True
    names = set(servers.values())
    impossible = {one for one in strange if parse_address("", one).server_name in names}
    async with db.read() as s:
        held = await store.holders(s, strange - impossible) if strange - impossible else {}
    return held.keys() != strange - impossible


async def take_in(db: Database, finding: Finding, *, epoch: int, now: datetime) -> Report:
    """Register who came, note who is missing, remove who left, and say so.

    Raises:
        LeaseLost: another process leads the fleet.
        NotFound: the source was deleted.
    """
    source, found = finding.source, finding.conclusion
    async with db.begin() as s:
        home = await fleets.lock_fleet(s, source.fleet)
        await leases.check(s, source.fleet, epoch)
        current, before = await store.source(s, source.fleet, source.name)
        if current.rv != source.rv:
            return before
        everyone = await fleets.servers(s, source.fleet)
        members = {one.address: one for one in everyone if one.source == source.name}
        taking = _Taking(replace(finding, before=before), home, now, members)
        _tell_of_fault(taking)
        after = replace(before, fault=found.fault)
        if found.listed is not None:
            after = await _listed(s, taking, found.listed, {one.address for one in everyone})
        await store.save_report(s, source.fleet, source.name, after)
        await journal.append(s, *taking.events)
    return after


async def settle(
    db: Database, fleet: str, names: Collection[str], kind: EventKind, *, epoch: int, now: datetime
) -> None:
    """Have servers that a source found count from now on, or be ours to write to as before.

    `kind` says which: SERVER_JOINED or SERVER_TAKEN_OVER.

    Raises:
        LeaseLost: another process leads the fleet.
    """
    async with db.begin() as s:
        await fleets.lock_fleet(s, fleet)
        await leases.check(s, fleet, epoch)
        for one in await fleets.servers(s, fleet):
            if one.name not in names or one.joined:
                continue
            joined = kind is EventKind.SERVER_JOINED
            after = replace(one, joined=True) if joined else replace(one, taken_over_at=now)
            await fleets.save_server(s, after, None)
            data = {"source": one.source}
            await journal.append(
                s, Event(kind, now, LOOP_ACTOR, fleet=fleet, server=one.name, data=data)
            )


def _tell_of_fault(taking: _Taking) -> None:
    before, fault = taking.finding.before.fault, taking.finding.conclusion.fault
    if fault and not before:
        taking.tell(EventKind.SOURCE_FAILED, sentence=fault)
    if before and not fault:
        taking.tell(EventKind.SOURCE_ANSWERED)


async def _listed(
    s: Session, taking: _Taking, listed: frozenset[str], everyone: set[str]
) -> Report:
    found, before, now = taking.finding.conclusion, taking.finding.before, taking.now
    leaving = found.leaving & taking.members.keys()
    missing = {
        one: before.missing.get(one, now)
        for one in sorted(found.missing - leaving)
        if one in taking.members
    }
    for one in sorted(missing.keys() - before.missing.keys()):
        grace_s = taking.finding.source.grace_s
        taking.tell(
            EventKind.SERVER_MISSING, taking.members[one].name, address=one, grace_s=grace_s
        )
    for one in sorted(leaving):
        await _leave(s, taking, taking.members[one], before.missing.get(one, now))
    await _come(s, taking, listed - everyone)
    left = {**before.left, **dict.fromkeys(sorted(leaving), now)}
    newest = sorted(left, key=lambda one: left[one], reverse=True)[:MOST_REMEMBERED]
    return Report(
        addresses=tuple(sorted(listed)),
        missing=missing,
        refused=taking.refused,
        left={one: left[one] for one in sorted(newest)},
    )


async def _leave(s: Session, taking: _Taking, server: Server, since: datetime) -> None:
    """Forget a server, unless another source lists it: then it is that one's from now on."""
    for other, report in await store.sources(s, server.fleet):
        if other.name != server.source and server.address in report.addresses:
            await fleets.save_server(s, replace(server, source=other.name), None)
            taking.tell(EventKind.SERVER_CHANGED, server.name, changed={"source": other.name})
            return
    await fleets.delete_server(s, server.fleet, server.name)
    told = {"address": server.address, "missing_since": since.isoformat()}
    taking.tell(EventKind.SERVER_REMOVED, server.name, **told)


async def _come(s: Session, taking: _Taking, strangers: frozenset[str]) -> None:
    held = await store.holders(s, strangers) if strangers else {}
    for one, (fleet, name) in sorted(held.items()):
        taking.refused[one] = f"it is the server {name} of the fleet {fleet}"
    for one in sorted(strangers - held.keys())[:MOST_AT_ONCE]:
        server = _server(taking, parse_address("address", one))
        try:
            await fleets.add_server(s, server)
        except AlreadyExists as error:
            taking.refused[one] = error.message
            continue
        data = {"address": one, "taken_over": server.taken_over}
        taking.tell(EventKind.SERVER_ADDED, server.name, **data)
    for one, why in taking.refused.items():
        if taking.finding.before.refused.get(one) != why:
            taking.tell(EventKind.SERVER_REFUSED, address=one, sentence=why)


def _server(taking: _Taking, address: Address) -> Server:
    source, now = taking.finding.source, taking.now
    ours = source.take_over or taking.home.take_over == "always"
    rest = Address(address.host, source.rest_port) if source.rest_port else ""
    return Server(
        fleet=source.fleet,
        name=address.server_name,
        address=str(address),
        created_at=now,
        rest_address=str(rest),
        taken_over=ours,
        taken_over_at=now if ours else None,
        memory_bytes=source.memory_bytes,
        flags=source.flags,
        source=source.name,
        joined=False,
    )
