"""Servers that are found: they come, get their config before they count, are missed, and leave."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.source import Report, Source, SourceKind
from control_plane.domain.standing import Status
from control_plane.services import sources
from control_plane.services.commit import nothing_more
from control_plane.services.rollouts import Verb
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.lookup import Lookup
from control_plane.store import fleets
from tests.contract.name_server import NameServer, name_server
from tests.contract.served import free_port
from tests.scenario.stage import FAST, FLEET, TOLD, DevServer, Resolved, Stage, now, until

SERVICE = "_grpc._tcp.serving.models"
GRACE_S = 1.0


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        yield running


@pytest.fixture
async def stage(tmp_path: Path, names: NameServer) -> AsyncIterator[Stage]:
    options = replace(FAST, discovery_s=0.2, dns_servers=(names.address,))
    made = Stage(tmp_path, options)
    yield made
    await made.close()


async def started(stage: Stage, *names: str) -> list[str]:
    """Start servers that nobody registers; return the names that they will be found under."""
    found = []
    for name in names:
        made = DevServer(name, stage.home, {})
        found.append(f"localhost-{made.port}")
        stage.servers[found[-1]] = made
        stage.clients[found[-1]] = GrpcModelServer(made.address)
        made.start()
    return found


def listing(stage: Stage, *servers: str) -> list[str]:
    """The addresses of servers, by a name that SRV records may hold."""
    return [f"localhost:{stage.servers[one].port}" for one in servers]


def srv(names: NameServer, *addresses: str) -> None:
    records = [f"0 0 {one.rpartition(':')[2]} localhost." for one in addresses]
    names.records[SERVICE] = {"SRV": records} if records else {}


async def a_source(stage: Stage, **place: Any) -> None:
    source = Source(
        FLEET, "found", created_at=now(), grace_s=GRACE_S, take_over=True, flags=TOLD, **place
    )
    event = Event(EventKind.SOURCE_CREATED, now(), "test")
    looking = Lookup(stage.options.dns_servers)
    await sources.create(stage.db, source, looking.find, event=event, commit=nothing_more)
    looking.close()
    stage.nudge()


async def report(stage: Stage) -> Report:
    return (await sources.show(stage.db, FLEET, "found"))[1]


async def known(stage: Stage) -> dict[str, Server]:
    async with stage.db.read() as s:
        return {one.name: one for one in await fleets.servers(s, FLEET)}


async def joined(stage: Stage, *servers: str) -> None:
    """Wait until the fleet has these servers and no others, and all count."""
    await until(
        lambda: known(stage),
        lambda seen: set(seen) == set(servers) and all(one.joined for one in seen.values()),
        20,
    )


async def test_servers_are_found_by_srv_records_and_leave_with_them(
    stage: Stage, names: NameServer
) -> None:
    a, b, c = await started(stage, "a", "b", "c")
    await stage.model("half_plus_two", 1, 2)
    await stage.start_loop()
    srv(names, *listing(stage, a, b))
    await a_source(stage, kind=SourceKind.SRV, host=SERVICE)
    await until(lambda: known(stage), lambda seen: set(seen) == {a, b})
    first = await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    assert {name for one in first.steps for name in one.servers} == {a, b}
    srv(names, *listing(stage, a, b, c))
    await joined(stage, a, b, c)
    assert await stage.label(c, "half_plus_two") == Resolved(1)
    second = await stage.done(await stage.promote("half_plus_two", 2))
    assert set(second.steps[0].servers) == {a, b, c}
    srv(names, *listing(stage, a, c))
    await joined(stage, a, c)
    told = [one.kind for one in await stage.events() if one.server == b]
    assert told[-2:] == [EventKind.SERVER_MISSING, EventKind.SERVER_REMOVED]
    assert await stage.label(b, "half_plus_two") == Resolved(2)  # it is left as it is


async def test_nobody_leaves_because_dns_is_out_of_order_or_lost_all_records(
    stage: Stage, names: NameServer
) -> None:
    (a,) = await started(stage, "a")
    await stage.start_loop()
    srv(names, *listing(stage, a))
    await a_source(stage, kind=SourceKind.SRV, host=SERVICE)
    await joined(stage, a)
    names.rcode = dns.rcode.SERVFAIL
    looks = len(names.asked) + int(3 * GRACE_S / 0.2)
    await until(lambda: report(stage), lambda seen: "out of order" in seen.fault)
    await until(lambda: _count(names), lambda count: count > looks)
    assert set(await known(stage)) == {a}
    names.rcode = dns.rcode.NOERROR
    await until(lambda: report(stage), lambda seen: not seen.fault)
    srv(names)
    await until(lambda: report(stage), lambda seen: "lists no server any more" in seen.fault)
    assert set(await known(stage)) == {a}
    await until(lambda: report(stage), lambda seen: bool(seen.missing))
    assert set(await known(stage)) == {a}
    await joined(stage)


async def _count(names: NameServer) -> int:
    return len(names.asked)


async def test_a_server_that_never_answered_holds_up_no_rollout(stage: Stage) -> None:
    (a,) = await started(stage, "a")
    await stage.model("half_plus_two", 1, 2, 3)
    await stage.strategy("slow", "load", {"approve": {"exclude_author": False}}, "promote")
    await stage.start_loop()
    file = stage.home / "servers"
    file.write_text("\n".join(listing(stage, a)))
    await a_source(stage, kind=SourceKind.FILE, path=str(file))
    await joined(stage, a)
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    slow = await stage.promote("half_plus_two", 2, strategy="slow")
    await until(lambda: stage.rollout(slow), lambda one: "approval" in one.sentence)
    away = f"127.0.0.1:{free_port()}"
    file.write_text("\n".join([*listing(stage, a), away]))
    await until(lambda: known(stage), lambda seen: len(seen) == 2)
    await stage.steer(slow, Verb.APPROVE)
    await stage.done(slow)
    next_one = await stage.done(await stage.promote("half_plus_two", 3))
    assert next_one.steps[0].servers == (a,)
    assert [one.joined for one in (await known(stage)).values()].count(False) == 1


async def test_a_server_that_comes_back_is_caught_up_without_being_asked_about(
    stage: Stage,
) -> None:
    a, b = await started(stage, "a", "b")
    await stage.model("half_plus_two", 1, 2)
    await stage.start_loop()
    file = stage.home / "servers"
    file.write_text("\n".join(listing(stage, a, b)))
    await a_source(stage, kind=SourceKind.FILE, path=str(file))
    await until(lambda: known(stage), lambda seen: set(seen) == {a, b})
    await stage.done(await stage.deploy("half_plus_two", 1, stable=1))
    await joined(stage, a, b)
    file.write_text("\n".join(listing(stage, a)))
    await joined(stage, a)
    await stage.done(await stage.promote("half_plus_two", 2))
    assert await stage.label(b, "half_plus_two") == Resolved(1)
    file.write_text("\n".join(listing(stage, a, b)))
    await joined(stage, a, b)
    assert await stage.label(b, "half_plus_two") == Resolved(2)
    await stage.settles(b, Status.READY)


async def test_a_file_that_cannot_be_read_any_more_removes_nobody(stage: Stage) -> None:
    (a,) = await started(stage, "a")
    await stage.start_loop()
    file = stage.home / "servers"
    file.write_text("\n".join(listing(stage, a)))
    await a_source(stage, kind=SourceKind.FILE, path=str(file))
    await joined(stage, a)
    file.write_text("not an address")
    await until(lambda: report(stage), lambda seen: "line 1 is no address" in seen.fault)
    file.unlink()
    await until(lambda: report(stage), lambda seen: "cannot be read" in seen.fault)
    assert set(await known(stage)) == {a}
