"""The audit chain in the database: in the writing transaction, without gaps, and only added to."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from control_plane.domain.audit import Checker, Head, Keys, Record, anchor_line
from control_plane.services import audit as service
from control_plane.services import retention
from control_plane.store import catalog, deeds, journal
from control_plane.store.database import Database
from control_plane.store.deeds import Deed
from tests.store.builders import a_model, an_event

KEYS = Keys("k" * 32)
UNGUARDED = {  # what the owner of a database can do, whatever triggers say
    "sqlite": (
        "DROP TRIGGER audit_added",
        "DROP TRIGGER audit_changed",
        "DROP TRIGGER audit_deleted",
    ),
    "postgresql": ("ALTER TABLE audit DISABLE TRIGGER USER",),
}
TAMPERINGS = {
    "change": ("UPDATE audit SET actor = 'eve' WHERE seq = 2",),
    "delete": ("DELETE FROM audit WHERE seq = 2",),
    "swap": (
        "UPDATE audit SET seq = 99 WHERE seq = 2",
        "UPDATE audit SET seq = 2 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 99",
    ),
    "cut": ("DELETE FROM audit WHERE seq > 2",),
    "cut with the head": (
        "DELETE FROM audit WHERE seq > 2",
        "UPDATE audit_head SET seq = 2, seal = (SELECT seal FROM audit WHERE seq = 2)",
    ),
    "all of it": (
        "DELETE FROM audit",
        "UPDATE audit_head SET seq = 0, seal = ''",
    ),
    "forget": (
        """UPDATE audit_head SET forgotten_seq = 2,
        forgotten = (SELECT seal FROM audit WHERE seq = 2)""",
        "DELETE FROM audit WHERE seq <= 2",
    ),
}
REFUSED = {
    "change": "UPDATE audit SET actor = 'eve'",
    "delete": "DELETE FROM audit WHERE seq = 1",
    "delete the head": "DELETE FROM audit_head",
    "put in": "INSERT INTO audit SELECT 9, at, actor, token, address, request, call, document, key,"
    " prev, seal FROM audit WHERE seq = 1",
    "fork": "INSERT INTO audit SELECT 5, at, actor, token, address, request, call, document, key,"
    " prev, seal FROM audit WHERE seq = 1",
}


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    opened = Database.open(url, audit_keys=KEYS)
    yield opened
    await opened.close()


def a_deed(name: str) -> Deed:
    return Deed("192.0.2.7", f"request-{name}", "POST /api/v1/models", "ann", "t1")


async def make(db: Database, name: str) -> None:
    with deeds.doing(a_deed(name)):
        async with db.begin() as s:
            await catalog.add_model(s, a_model(name))
            await journal.append(s, an_event(name))


async def all_of(db: Database) -> list[Record]:
    return list(await service.newest(db, {}, 10**9, 1_000))[::-1]


async def verdict(db: Database, *anchored: str) -> Checker:
    return await service.verify(db, lambda: anchored)


async def run(db: Database, statements: Sequence[str]) -> None:
    async with db.begin() as s:
        for one in statements:
            await s.execute(text(one))


async def test_a_request_and_what_it_changed_are_one_record_of_its_transaction(
    db: Database,
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    await make(db, "ranker")
    (one,) = await all_of(db)
    assert (one.seq, one.prev, one.key) == (1, "", KEYS.id)
    assert (one.actor, one.token, one.address) == ("ann", "t1", "192.0.2.7")
    assert (one.request, one.call) == ("request-ranker", "POST /api/v1/models")
    assert before < datetime.fromisoformat(one.at) < datetime.now(UTC) + timedelta(minutes=1)
    told = json.loads(one.document)
    assert [(event["seq"], event["kind"]) for event in told["events"]] == [(1, "model.changed")]
    (change,) = told["changes"]
    assert (change["of"], change["key"], change["before"]) == ("models", {"name": "ranker"}, None)
    assert change["after"]["base_path"] == "/models/ranker"


async def test_of_a_change_only_what_differs_is_told_and_of_a_deletion_all(db: Database) -> None:
    await make(db, "ranker")
    with deeds.doing(a_deed("change")):
        async with db.begin() as s:
            found = await catalog.model(s, "ranker")
            await catalog.save_model(s, replace(found, owner="bob"), None)
    with deeds.doing(a_deed("delete")):
        async with db.begin() as s:
            await catalog.delete_model(s, "ranker")
    _, changed, deleted = [json.loads(one.document)["changes"] for one in await all_of(db)]
    assert [(one["before"], one["after"]) for one in changed] == [
        ({"owner": "", "rv": 1}, {"owner": "bob", "rv": 2})
    ]
    assert [(one["before"]["owner"], one["after"]) for one in deleted] == [("bob", None)]


async def test_what_is_undone_leaves_no_record_and_no_gap(db: Database) -> None:
    await make(db, "ranker")

    async def undone() -> None:
        async with db.begin() as s:
            await catalog.add_model(s, a_model("other"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), deeds.doing(a_deed("undone")):
        await undone()
    await make(db, "third")
    assert [(one.seq, one.request) for one in await all_of(db)] == [
        (1, "request-ranker"),
        (2, "request-third"),
    ]


async def test_tasks_that_a_request_wakes_write_for_themselves(db: Database) -> None:
    async def woken() -> None:
        async with db.begin() as s:
            await catalog.add_model(s, a_model("woken"))

    with deeds.doing(a_deed("waking")):
        await asyncio.create_task(woken())
    assert await all_of(db) == []


async def test_writers_at_once_make_one_chain_without_gaps(url: str, db: Database) -> None:
    other = Database.open(url, audit_keys=KEYS)
    names = [f"m{n:02d}" for n in range(20)]
    await asyncio.gather(*(make((db, other)[n % 2], name) for n, name in enumerate(names)))
    await other.close()
    found = await all_of(db)
    assert [one.seq for one in found] == list(range(1, 21))
    assert [one.prev for one in found[1:]] == [one.seal for one in found[:-1]]
    checked = await verdict(db)
    assert (checked.checked, checked.faults) == (20, [])


@pytest.mark.parametrize("way", REFUSED)
async def test_the_database_refuses_what_is_not_the_next_record(db: Database, way: str) -> None:
    for name in ("a", "b", "c", "d"):
        await make(db, name)
    whole = await all_of(db)
    with pytest.raises(Exception, match="audit"):
        await run(db, [REFUSED[way]])
    assert await all_of(db) == whole


@pytest.mark.parametrize("way", TAMPERINGS)
async def test_what_the_databases_owner_does_all_the_same_is_found(db: Database, way: str) -> None:
    for name in ("a", "b", "c", "d"):
        await make(db, name)
    anchor = anchor_line(await service.head(db), "now")
    assert not (await verdict(db, anchor)).wrong
    async with db.read() as s:
        engine = s.dialect.name
    await run(db, [*UNGUARDED[engine], *TAMPERINGS[way]])
    found = await verdict(db, anchor)
    assert found.wrong
    assert found.faults


async def test_old_records_are_forgotten_and_the_rest_is_whole(db: Database) -> None:
    for name in ("a", "b", "c"):
        await make(db, name)
    later = datetime.now(UTC) + timedelta(days=50)
    await retention.forget(db, later, None)
    assert len(await all_of(db)) == 3
    await retention.forget(db, later, None, audit_days=30)
    assert await all_of(db) == []
    await make(db, "d")
    assert [one.seq for one in await all_of(db)] == [4]
    checked = await verdict(db)
    assert (checked.checked, checked.faults) == (1, [])


async def test_a_chain_without_the_key_to_it_is_not_called_whole(url: str, db: Database) -> None:
    await make(db, "a")
    stranger = Database.open(url, audit_keys=Keys("x" * 32))
    found = await verdict(stranger)
    await stranger.close()
    assert found.faults == [f"record 1: there is no key '{KEYS.id}'"]
    assert await service.head(db) != Head(0, "")
