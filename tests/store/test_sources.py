"""Sources in the database, and what a fleet's leader writes of them, on both engines."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from control_plane.domain.address import parse_address
from control_plane.domain.discovery import Answer, Watch, conclude
from control_plane.domain.errors import AlreadyExists, LeaseLost, NotFound, PreconditionFailed
from control_plane.domain.events import EventKind
from control_plane.domain.fleet import Drain, Fleet, Server, ServerFlags
from control_plane.domain.source import Report, Source, SourceKind
from control_plane.services import discovery
from control_plane.services.discovery import Finding
from control_plane.store import fleets, journal, leases, sources
from control_plane.store.database import Database
from tests.store.builders import NOON, a_server, at

FLAGS = ServerFlags(num_load_threads=2)
SOURCE = Source(
    "default", "pods", SourceKind.DNS, NOON, "ada", host="tf.models", port=8500,
    take_over=True, rest_port=8501, memory_bytes=2**40, flags=FLAGS,
)  # fmt: skip
ONE, TWO = "10.0.0.7:8500", "10.0.0.8:8500"


async def led(db: Database) -> int:
    """Store the source and lead its fleet; return the epoch."""
    async with db.begin() as s:
        await sources.add(s, SOURCE)
        lease = await leases.acquire(s, "default", "test", 60)
    assert lease is not None
    return lease.epoch


async def look(
    db: Database,
    epoch: int,
    *listed: str,
    fault: str = "",
    watch: Watch = Watch(),  # noqa: B008 - a value
    now: datetime = NOON,
) -> Report:
    """Take in a look a second after the grace period began for whom `watch` misses."""
    async with db.read() as s:
        source, before = await sources.source(s, "default", "pods")
    answer = Answer(frozenset(parse_address("", one) for one in listed), fault)
    members = [one.address for one in await servers(db) if one.source == "pods"]
    found = conclude(answer, members, watch, grace_s=source.grace_s, at=1_000.0)
    return await discovery.take_in(db, Finding(source, before, found), epoch=epoch, now=now)


async def servers(db: Database) -> tuple[Server, ...]:
    async with db.read() as s:
        return await fleets.servers(s, "default")


async def told(db: Database) -> list[tuple[EventKind, str]]:
    async with db.read() as s:
        return [(one.kind, one.server) for one in await journal.events(s, 0, 100)]


async def test_a_source_comes_back_as_it_was_stored(db: Database) -> None:
    report = Report("", (ONE,), {TWO: at(1)}, {"h:1": "why"}, {"h:2": at(2)})
    async with db.begin() as s:
        await sources.add(s, SOURCE)
        with pytest.raises(AlreadyExists, match="pods"):
            await sources.add(s, SOURCE)
        saved = await sources.save(s, replace(SOURCE, grace_s=5.0), 1)
        with pytest.raises(PreconditionFailed):
            await sources.save(s, SOURCE, 1)
        await sources.save_report(s, "default", "pods", report)
        assert await sources.source(s, "default", "pods") == (saved, report)
        assert await sources.sources(s, "default") == ((saved, report),)
        assert await sources.sources(s, "eu") == ()
        await sources.remove(s, "default", "pods")
        for missing in (sources.remove, sources.source):
            with pytest.raises(NotFound):
                await missing(s, "default", "pods")


async def test_a_drained_server_comes_back_as_it_was_stored(db: Database) -> None:
    drain = Drain(at(3), "ada", "kernel")
    stored = replace(a_server(), drain=drain, source="pods", joined=False)
    async with db.begin() as s:
        await fleets.add_server(s, stored)
        assert await fleets.server(s, "default", "a") == stored


async def test_who_is_listed_is_registered_as_the_source_says(db: Database) -> None:
    epoch = await led(db)
    report = await look(db, epoch, ONE)
    (server,) = await servers(db)
    assert server == Server(
        "default", "10.0.0.7-8500", ONE, NOON, rest_address="10.0.0.7:8501", taken_over=True,
        taken_over_at=NOON, memory_bytes=2**40, flags=FLAGS, source="pods", joined=False,
    )  # fmt: skip
    assert report == Report(addresses=(ONE,))
    assert await told(db) == [(EventKind.SERVER_ADDED, "10.0.0.7-8500")]


async def test_a_look_without_news_is_known_for_that(db: Database) -> None:
    epoch = await led(db)
    report = await look(db, epoch, ONE)
    by_address = {one.address: one.name for one in await servers(db)}

    async def news(*listed: str, fault: str = "", of: Mapping[str, str] = by_address) -> bool:
        answer = Answer(frozenset(parse_address("", one) for one in listed), fault)
        found = conclude(answer, [ONE], Watch(), grace_s=300, at=0)
        return await discovery.is_news(db, Finding(SOURCE, report, found), of)

    assert not await news(ONE)
    assert await news(ONE, TWO)
    assert await news(TWO)
    assert await news(fault="no answer")
    assert await news(ONE, of={})


async def test_who_is_missing_is_named_and_then_forgotten(db: Database) -> None:
    epoch = await led(db)
    await look(db, epoch, ONE, TWO)
    missing = await look(db, epoch, ONE, now=at(1))
    assert missing.missing == {TWO: at(1)}
    report = await look(db, epoch, ONE, watch=Watch({TWO: 0.0}), now=at(2))
    assert (report.missing, report.left) == ({}, {TWO: at(2)})
    assert [one.address for one in await servers(db)] == [ONE]
    kinds = [EventKind.SERVER_MISSING, EventKind.SERVER_REMOVED]
    assert (await told(db))[2:] == [(kind, "10.0.0.8-8500") for kind in kinds]


async def test_very_many_come_some_at_a_time(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MOST_AT_ONCE", 2)
    epoch = await led(db)
    listed = [f"10.0.0.{number}:8500" for number in range(1, 6)]
    for count in (2, 4, 5, 5):
        await look(db, epoch, *listed)
        assert len(await servers(db)) == count


async def test_a_fault_and_its_end_are_told_once(db: Database) -> None:
    epoch = await led(db)
    await look(db, epoch, ONE)
    for _ in range(2):
        report = await look(db, epoch, fault="DNS did not answer")
        assert (report.fault, report.addresses) == ("DNS did not answer", (ONE,))
    await look(db, epoch, ONE)
    kinds = [kind for kind, _ in await told(db)]
    assert kinds[1:] == [EventKind.SOURCE_FAILED, EventKind.SOURCE_ANSWERED]


async def test_a_server_of_another_fleet_is_refused_once_and_taken_when_it_is_free(
    db: Database,
) -> None:
    epoch = await led(db)
    async with db.begin() as s:
        await fleets.add_fleet(s, Fleet("eu", NOON))
        await fleets.add_server(s, replace(a_server("a", "eu"), address=ONE))
    for _ in range(2):
        report = await look(db, epoch, ONE)
        assert report.refused == {ONE: "it is the server a of the fleet eu"}
    assert await told(db) == [(EventKind.SERVER_REFUSED, "")]
    async with db.begin() as s:
        await fleets.delete_server(s, "eu", "a")
    assert (await look(db, epoch, ONE)).refused == {}
    assert [one.address for one in await servers(db)] == [ONE]


async def test_a_server_that_somebody_registered_stays_his(db: Database) -> None:
    epoch = await led(db)
    async with db.begin() as s:
        await fleets.add_server(s, replace(a_server(), address=ONE))
        await fleets.add_server(s, replace(a_server("10.0.0.8-8500"), address="other:1"))
    report = await look(db, epoch, ONE, TWO)
    assert "10.0.0.8-8500 already" in report.refused[TWO]
    await look(db, epoch, watch=Watch({ONE: 0.0}))
    assert {one.source for one in await servers(db)} == {""}


async def test_who_another_source_lists_does_not_leave(db: Database) -> None:
    epoch = await led(db)
    await look(db, epoch, ONE)
    other = replace(SOURCE, name="file", kind=SourceKind.FILE, host="", path="/f", port=None)
    async with db.begin() as s:
        await sources.add(s, other)
        await sources.save_report(s, "default", "file", Report(addresses=(ONE,)))
    await look(db, epoch, TWO, watch=Watch({ONE: 0.0}))
    assert {one.address: one.source for one in await servers(db)} == {ONE: "file", TWO: "pods"}


async def test_only_the_leader_writes_what_was_found(db: Database) -> None:
    epoch = await led(db)
    async with db.begin() as s:
        await leases.acquire(s, "default", "test", 60)
    with pytest.raises(LeaseLost):
        await look(db, epoch, ONE)
    joined = EventKind.SERVER_JOINED
    with pytest.raises(LeaseLost):
        await discovery.settle(db, "default", ["a"], joined, epoch=epoch, now=NOON)
    assert await servers(db) == ()


async def test_a_look_at_a_source_that_was_changed_meanwhile_counts_for_nothing(
    db: Database,
) -> None:
    epoch = await led(db)
    found = conclude(Answer(frozenset()), [], Watch(), grace_s=1, at=0)
    finding = Finding(SOURCE, Report(), replace(found, listed=frozenset({ONE})))
    async with db.begin() as s:
        await sources.save(s, replace(SOURCE, host="elsewhere"), 1)
    assert await discovery.take_in(db, finding, epoch=epoch, now=NOON) == Report()
    assert await servers(db) == ()
    async with db.begin() as s:
        await sources.remove(s, "default", "pods")
    with pytest.raises(NotFound):
        await discovery.take_in(db, finding, epoch=epoch, now=NOON)


async def test_who_has_its_config_counts_from_then_on(db: Database) -> None:
    epoch = await led(db)
    await look(db, epoch, ONE)
    names = ["10.0.0.7-8500", "gone"]
    for kind in (EventKind.SERVER_TAKEN_OVER, EventKind.SERVER_JOINED, EventKind.SERVER_JOINED):
        await discovery.settle(db, "default", names, kind, epoch=epoch, now=at(9))
    (server,) = await servers(db)
    assert (server.joined, server.taken_over_at) == (True, at(9))
    kinds = [EventKind.SERVER_TAKEN_OVER, EventKind.SERVER_JOINED]
    assert (await told(db))[1:] == [(kind, server.name) for kind in kinds]
