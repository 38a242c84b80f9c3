"""Fleets, servers and observations in the database."""

import asyncio
from dataclasses import replace

import pytest

from control_plane.domain.errors import (
    AlreadyExists,
    LeaseLost,
    NotFound,
    PreconditionFailed,
    StillInUse,
)
from control_plane.domain.fleet import Fleet, ServerFlags
from control_plane.store import fleets, leases
from control_plane.store.database import Database, Page
from tests.store.builders import NOON, a_deployment, a_server, append, at


async def test_the_fleet_default_exists_from_the_start(db: Database) -> None:
    async with db.read() as s:
        assert (await fleets.fleet(s, "default")).head == 0
        assert [one.name for one in await fleets.all_fleets(s)] == ["default"]


async def test_a_fleet_comes_back_as_it_was_stored(db: Database) -> None:
    stored = Fleet("eu", NOON, "Europe", {"/models": "/mnt/models"}, "opaque", "always", 2)
    stored = replace(stored, on_drift="alert")
    async with db.begin() as s:
        await fleets.add_fleet(s, stored)
        with pytest.raises(AlreadyExists, match="eu"):
            await fleets.add_fleet(s, stored)
    async with db.read() as s:
        assert await fleets.fleet(s, "eu") == stored
        first = await fleets.fleets(s, Page(1))
        rest = await fleets.fleets(s, Page(1, first.next))
    assert [*first.items, *rest.items][1] == stored
    assert rest.next == ""


async def test_saving_a_fleet_leaves_its_head_alone(db: Database) -> None:
    async with db.begin() as s:
        before = await fleets.fleet(s, "default")
        await append(s, {"ranker": a_deployment()}, {})
        saved = await fleets.save_fleet(s, replace(before, max_unavailable=1), before.rv)
        with pytest.raises(PreconditionFailed):
            await fleets.save_fleet(s, before, before.rv)
        now = await fleets.fleet(s, "default")
    assert (now.head, now.max_unavailable, now.rv) == (1, 1, saved.rv)


async def test_a_fleet_with_servers_is_not_deleted(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_server(s, a_server())
        with pytest.raises(StillInUse):
            await fleets.delete_fleet(s, "default")
        await fleets.delete_server(s, "default", "a")
        await append(s, {"ranker": a_deployment()}, {})
        await fleets.delete_fleet(s, "default")
        with pytest.raises(NotFound):
            await fleets.fleet(s, "default")


async def test_a_server_comes_back_as_it_was_stored(db: Database) -> None:
    flags = ServerFlags(num_load_threads=4, file_system_poll_wait_seconds=0.5)
    stored = replace(a_server(), flags=flags, memory_bytes=2**40, rest_address="a:8501")
    async with db.begin() as s:
        await fleets.add_server(s, stored)
        saved = await fleets.save_server(s, replace(stored, taken_over=True), 1)
        with pytest.raises(PreconditionFailed):
            await fleets.save_server(s, stored, 1)
    async with db.read() as s:
        assert await fleets.servers(s, "default") == (saved,)
        assert await fleets.server(s, "default", "a") == replace(stored, taken_over=True, rv=2)


async def test_no_two_servers_share_a_name_or_an_address(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_fleet(s, Fleet("eu", NOON))
        await fleets.add_server(s, a_server())
        with pytest.raises(AlreadyExists, match="has a server a already"):
            await fleets.add_server(s, replace(a_server(), address="other:8500"))
        with pytest.raises(AlreadyExists, match="the server a of the fleet default"):
            await fleets.add_server(s, replace(a_server("b", "eu"), address="a.default:8500"))


async def test_moving_a_server_to_a_taken_address_is_refused(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_server(s, a_server("a"))
        await fleets.add_server(s, a_server("b"))
    with pytest.raises(AlreadyExists):
        await _move(db, "b", "a.default:8500")
    async with db.read() as s:
        assert await fleets.server(s, "default", "b") == a_server("b")


async def _move(db: Database, name: str, address: str) -> None:
    async with db.begin() as s:
        await fleets.save_server(s, replace(a_server(name), address=address), None)


async def test_a_server_of_an_unknown_fleet_is_not_found(db: Database) -> None:
    async with db.begin() as s:
        for looking in (
            fleets.add_server(s, a_server("a", "ghost")),
            fleets.server(s, "ghost", "a"),
            fleets.delete_server(s, "ghost", "a"),
            fleets.lock_fleet(s, "ghost"),
            fleets.delete_fleet(s, "ghost"),
        ):
            with pytest.raises(NotFound, match="ghost"):
                await looking


async def test_an_observation_is_written_by_the_current_epoch_only(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_server(s, a_server())
        assert await fleets.observed(s, "default", "a") is None
        old = await leases.acquire(s, "default", "one", 60)
        new = await leases.acquire(s, "default", "one", 60)
        assert old is not None
        assert new is not None
        await fleets.save_observed(s, "default", "a", {"n": 1}, epoch=new.epoch)
        for stale in (old.epoch, 0, new.epoch + 1):
            with pytest.raises(LeaseLost):
                await fleets.save_observed(s, "default", "a", {"n": 2}, epoch=stale)
        assert await fleets.observed(s, "default", "a") == {"n": 1}
        await fleets.save_observed(s, "default", "a", {"n": [2, None]}, epoch=new.epoch)
        assert await fleets.observations(s, "default") == {"a": {"n": [2, None]}}


async def test_an_observation_of_a_removed_server_is_not_found(db: Database) -> None:
    async with db.begin() as s:
        lease = await leases.acquire(s, "default", "one", 60)
        assert lease is not None
        await fleets.add_server(s, a_server())
        await fleets.save_observed(s, "default", "a", {"n": 1}, epoch=lease.epoch)
        await fleets.delete_server(s, "default", "a")
        with pytest.raises(NotFound):
            await fleets.save_observed(s, "default", "a", {"n": 2}, epoch=lease.epoch)
        assert await fleets.observations(s, "default") == {}


async def test_who_knows_an_observation_is_given_what_was_written_since(db: Database) -> None:
    async with db.begin() as s:
        for name in ("a", "b"):
            await fleets.add_server(s, a_server(name))
        lease = await leases.acquire(s, "default", "one", 60)
    assert lease is not None

    async def write(name: str, n: int) -> None:
        async with db.begin() as s:
            await fleets.save_observed(s, "default", name, {"n": n}, epoch=lease.epoch)

    await write("a", 1)
    await write("b", 1)
    async with db.read() as s:
        known, found = await fleets.newer_observations(s, "default", {})
    assert found == {"a": {"n": 1}, "b": {"n": 1}}
    await write("a", 2)
    async with db.begin() as s:
        await fleets.delete_server(s, "default", "b")
        await fleets.add_server(s, a_server("b"))
    await write("b", 1)
    async with db.read() as s:
        stamps, found = await fleets.newer_observations(s, "default", known)
        assert found == {"a": {"n": 2}, "b": {"n": 1}}
        again = await fleets.newer_observations(s, "default", stamps)
        assert again == (stamps, {} if stamps else found)  # SQLite has no stamps


async def test_last_seen_is_written_for_many_servers_at_once(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_fleet(s, Fleet("eu", NOON))
        for server in (a_server("a"), a_server("b"), a_server("c"), a_server("a", "eu")):
            await fleets.add_server(s, server)
        seen = {("default", "a"): at(1), ("eu", "a"): at(2), ("default", "gone"): at(3)}
        await fleets.touch_last_seen(s, seen)
        await fleets.touch_last_seen(s, {("default", "b"): at(4)})
        await fleets.touch_last_seen(s, {})
    async with db.read() as s:
        assert await fleets.last_seen(s, "default") == {"a": at(1), "b": at(4)}
        assert await fleets.last_seen(s, "eu") == {"a": at(2)}
        assert await fleets.server(s, "default", "a") == a_server("a")


async def test_a_locked_fleet_waits_for_the_change_before(db: Database) -> None:
    numbers: list[int] = []

    async def change(model: str) -> None:
        async with db.begin() as s:
            before = (await fleets.lock_fleet(s, "default")).head
            await asyncio.sleep(0)
            made = await append(s, {model: a_deployment(model)}, {})
            assert made.parent == before
            numbers.append(made.number)

    await asyncio.gather(*(change(f"m{i}") for i in range(8)))
    assert sorted(numbers) == list(range(1, 9))
