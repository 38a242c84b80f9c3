"""Leases: one writer per fleet, fenced by an epoch."""

import asyncio

import pytest

from control_plane.domain.errors import LeaseLost, StoreBusy
from control_plane.domain.fleet import Fleet
from control_plane.store import fleets, leases, rollouts
from control_plane.store.database import Database, Session
from control_plane.store.leases import Lease
from tests.databases import Postgres, fresh_database
from tests.store.builders import NOON


async def _acquire(db: Database, holder: str, ttl_s: float = 60) -> Lease | None:
    async with db.begin() as s:
        return await leases.acquire(s, "default", holder, ttl_s)


async def _must_acquire(db: Database, holder: str, ttl_s: float = 60) -> Lease:
    found = await _acquire(db, holder, ttl_s)
    assert found is not None
    return found


async def test_a_lease_has_one_holder_until_it_is_released(db: Database) -> None:
    first = await _must_acquire(db, "one")
    assert (first.epoch, first.holder) == (1, "one")
    assert await _acquire(db, "two") is None
    async with db.begin() as s:
        await leases.release(s, first)
    assert (await _must_acquire(db, "two")).epoch == 2


async def test_an_expired_lease_is_taken_over_with_a_higher_epoch(db: Database) -> None:
    first = await _must_acquire(db, "one", ttl_s=-1)
    second = await _must_acquire(db, "two")
    assert second.epoch == first.epoch + 1
    async with db.begin() as s:
        assert await leases.renew(s, [first], 60) == ()
        with pytest.raises(LeaseLost):
            await leases.check(s, "default", first.epoch)
        await leases.check(s, "default", second.epoch)


async def test_an_expired_lease_is_not_renewed_even_if_nobody_took_it(db: Database) -> None:
    lease = await _must_acquire(db, "one", ttl_s=-1)
    async with db.begin() as s:
        assert await leases.renew(s, [lease], 60) == ()
        with pytest.raises(LeaseLost):
            await leases.check(s, "default", lease.epoch)


async def test_renewing_moves_the_end_and_keeps_the_epoch(db: Database) -> None:
    lease = await _must_acquire(db, "one", ttl_s=30)
    async with db.begin() as s:
        (renewed,) = await leases.renew(s, [lease], 90)
        left_s = (renewed.expires_at - await db.now(s)).total_seconds()
    assert (renewed.epoch, renewed.holder) == (lease.epoch, "one")
    assert 60 < left_s <= 90


async def test_releasing_a_lost_lease_leaves_the_new_holder_alone(db: Database) -> None:
    first = await _must_acquire(db, "one", ttl_s=-1)
    second = await _must_acquire(db, "two")
    async with db.begin() as s:
        await leases.release(s, first)
        await leases.check(s, "default", second.epoch)


async def test_a_holder_takes_its_own_lease_again_at_once(db: Database) -> None:
    first = await _must_acquire(db, "one")
    again = await _must_acquire(db, "one")
    assert again.epoch == first.epoch + 1
    async with db.begin() as s:
        with pytest.raises(LeaseLost):
            await leases.check(s, "default", first.epoch)


async def test_of_many_that_want_a_lease_one_gets_it(db: Database) -> None:
    answers = await asyncio.gather(*(_acquire(db, f"h{i}") for i in range(8)))
    assert len([one for one in answers if one is not None]) == 1


async def test_each_fleet_has_a_lease_of_its_own_and_an_epoch_outlives_it(db: Database) -> None:
    async with db.begin() as s:
        await fleets.add_fleet(s, Fleet("eu", NOON))
        for fleet in ("default", "eu"):
            taken = await leases.acquire(s, fleet, "one", 60)
            assert taken is not None
            assert taken.epoch == 1
        await fleets.delete_fleet(s, "eu")
        await fleets.add_fleet(s, Fleet("eu", NOON))
        again = await leases.acquire(s, "eu", "one", 60)
    assert again is not None
    assert again.epoch == 2


async def test_of_several_leases_those_still_held_are_renewed(db: Database) -> None:
    names = ("asia", "eu", "us")
    async with db.begin() as s:
        for name in names:
            await fleets.add_fleet(s, Fleet(name, NOON))
        held = [await leases.acquire(s, name, "one", 30) for name in names]
        kept = [one for one in held if one is not None]
        await leases.acquire(s, "eu", "one", 30)  # the former self of a process that came back
        renewed = await leases.renew(s, kept, 90)
    assert [one.fleet for one in sorted(renewed, key=lambda one: one.fleet)] == ["asia", "us"]
    async with db.read() as s:
        left = await leases.left(s)
        assert {name: lease.epoch for name, (lease, _) in left.items()} == {
            "asia": 1,
            "eu": 2,
            "us": 1,
        }
        assert sorted(name for name, (_, left_s) in left.items() if left_s > 60) == ["asia", "us"]


async def test_who_holds_a_lease_is_known_while_it_lasts(db: Database) -> None:
    lease = await _must_acquire(db, "one")
    async with db.begin() as s:
        assert await leases.holder(s, "default") == lease
        await leases.release(s, lease)
        assert await leases.holder(s, "default") is None
        assert await leases.holder(s, "never") is None


async def test_replicas_count_while_they_say_that_they_live(db: Database) -> None:
    async with db.begin() as s:
        assert await leases.beat(s, "one", 60) == 1
        assert await leases.beat(s, "two", 60) == 2
        assert await leases.beat(s, "two", 60) == 2
        await leases.leave(s, "one")
        assert await leases.beat(s, "three", -1) == 1


async def test_a_leader_frozen_inside_a_transaction_holds_up_nobody_for_long(
    postgres: Postgres,
) -> None:
    with fresh_database(postgres) as url:
        frozen, other = Database.open(url), Database.open(url)
        lease = await _must_acquire(frozen, "one", ttl_s=1)
        with pytest.raises(StoreBusy):
            await _write_after_takeover(frozen, other, lease)
        async with other.read() as s:
            assert await rollouts.verified(s, "default", "ranker", "stable") == ()
        await frozen.close()
        await other.close()


async def test_a_leader_frozen_between_two_statements_of_a_batch_holds_up_nobody_for_long(
    postgres: Postgres,
) -> None:
    with fresh_database(postgres) as url:
        frozen, other = Database.open(url, idle_s=0.6), Database.open(url)
        lease = await _must_acquire(frozen, "one", ttl_s=1)
        taken: list[Lease] = []
        with pytest.raises(StoreBusy):
            await _freeze_in_a_batch(frozen, lease, other, taken)
        assert [one.epoch for one in taken] == [lease.epoch + 1]
        await frozen.close()
        await other.close()


async def _freeze_in_a_batch(
    frozen: Database, lease: Lease, other: Database, taken: list[Lease]
) -> None:
    async with frozen.begin() as s:
        await leases.check(s, "default", lease.epoch)
        await _send_half_a_batch(s)
        async with asyncio.timeout(20):
            taken.append(await _taken_over(other))


async def _send_half_a_batch(s: Session) -> None:
    """The server waits for the rest then, and does not call that idle."""
    raw = await s.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    driver.pgconn.enter_pipeline_mode()
    driver.pgconn.send_query_params(b"SELECT 1", None)
    driver.pgconn.send_flush_request()
    driver.pgconn.flush()


async def _write_after_takeover(frozen: Database, other: Database, lease: Lease) -> None:
    async with frozen.begin() as s:
        await leases.check(s, "default", lease.epoch)
        async with asyncio.timeout(20):
            taken = await _taken_over(other)
        assert taken.epoch == lease.epoch + 1
        await rollouts.verify_label(s, "default", "ranker", "stable", 1, 1, NOON)


async def _taken_over(other: Database) -> Lease:
    while True:
        try:
            found = await _acquire(other, "two")
        except StoreBusy as error:
            raise AssertionError from error
        if found is not None:
            return found
        await asyncio.sleep(0.05)
