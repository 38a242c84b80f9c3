"""The journal: gap-free, in the order of commits."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from control_plane.domain.events import Event, EventKind, Wanted
from control_plane.store import journal
from control_plane.store.database import Database
from tests.store.builders import NOON, an_event

WRITERS = 8
EACH = 25


async def test_an_event_comes_back_as_it_was_stored(db: Database) -> None:
    stored = Event(
        EventKind.LABEL_VERIFIED,
        NOON,
        "ada",
        fleet="default",
        model="ranker",
        server="a",
        rollout="r1",
        revision=7,
        reason="因为",
        data={"label": "stable", "versions": [1, 2]},
    )
    async with db.begin() as s:
        assert await journal.append(s) == ()
        (numbered,) = await journal.append(s, stored)
    assert numbered == replace(stored, seq=1)
    async with db.read() as s:
        assert await journal.events(s, 0, 10) == (numbered,)


async def test_an_empty_journal_has_no_first_or_last(db: Database) -> None:
    async with db.read() as s:
        assert (await journal.first_seq(s), await journal.last_seq(s)) == (0, 0)


async def test_events_are_filtered_and_limited_in_order(db: Database) -> None:
    async with db.begin() as s:
        events = [an_event(model, fleet) for fleet in ("eu", "us") for model in ("a", "b")]
        await journal.append(s, *events)
        await journal.append(s, replace(an_event("a", "eu"), kind=EventKind.MODEL_DELETED))
        found = [
            [one.seq for one in await journal.events(s, after, limit, **only)]
            for after, limit, only in (
                (0, 10, {}),
                (2, 2, {}),
                (0, 10, {"fleet": "eu"}),
                (0, 10, {"model": "a"}),
                (1, 10, {"fleet": "eu", "model": "a", "kind": "model.deleted"}),
                (5, 10, {}),
            )
        ]
        assert (await journal.first_seq(s), await journal.last_seq(s)) == (1, 5)
    assert found == [[1, 2, 3, 4, 5], [3, 4], [1, 2, 5], [1, 3, 5], [5], []]


async def test_of_each_model_the_newest_events_of_a_kind_are_found(db: Database) -> None:
    kind = EventKind.VERSION_STATE_CHANGED
    async with db.begin() as s:
        told = [replace(an_event(model, "eu"), kind=kind) for model in "aabbabc"]
        other = replace(told[0], fleet="us")
        await journal.append(s, *told, other, an_event("a", "eu"))
        found = [
            [one.seq for one in await journal.newest_of_each(s, "eu", models, kind, **only)]
            for models, only in (
                (("a", "b"), {"after": 0, "most": 2}),
                (("a", "b"), {"after": 4, "most": 2}),
                (("a", "c", "ghost"), {"after": 0, "most": 9}),
                ((), {"after": 0, "most": 9}),
            )
        ]
    assert found == [[2, 4, 5, 6], [5, 6], [1, 2, 5, 7], []]


async def test_of_a_server_the_newest_events_of_some_kinds_are_found_in_order(db: Database) -> None:
    def about(server: str, kind: EventKind, fleet: str = "default") -> Event:
        return replace(an_event("", fleet), kind=kind, server=server)

    drifted, reloaded = EventKind.SERVER_DRIFTED, EventKind.SERVER_RELOADED
    told = [about("a", reloaded), about("a", drifted), about("b", drifted)]
    told += [about("a", drifted, "eu"), about("a", EventKind.SERVER_ADDED), about("a", reloaded)]
    async with db.begin() as s:
        kept = await journal.append(s, *told)
        kinds = (drifted, reloaded)
        assert await journal.of_server(s, "default", "a", kinds, 9) == (kept[0], kept[1], kept[5])
        assert await journal.of_server(s, "default", "a", kinds, 2) == (kept[1], kept[5])
        assert await journal.of_server(s, "default", "c", kinds, 2) == ()


async def test_a_rolled_back_transaction_leaves_no_gap(db: Database) -> None:
    async with db.begin() as s:
        await journal.append(s, an_event())
    try:
        async with db.begin() as s:
            await journal.append(s, an_event(), an_event())
            raise LookupError
    except LookupError:
        pass
    async with db.begin() as s:
        assert [one.seq for one in await journal.append(s, an_event())] == [2]


async def test_a_watcher_misses_no_event_of_concurrent_writers(db: Database) -> None:
    chance = random.Random(7)

    async def write() -> None:
        for _ in range(EACH):
            async with db.begin() as s:
                await asyncio.sleep(chance.uniform(0, 0.002))
                await journal.append(s, an_event())
                await asyncio.sleep(chance.uniform(0, 0.002))

    async def watch() -> list[int]:
        seen: list[int] = []
        while len(seen) < WRITERS * EACH:
            async with db.read() as s:
                seen += [one.seq for one in await journal.events(s, seen[-1] if seen else 0, 50)]
            await asyncio.sleep(0)
        return seen

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        for _ in range(WRITERS):
            tasks.create_task(write())
    assert watching.result() == list(range(1, WRITERS * EACH + 1))


async def test_the_newest_events_are_found_by_all_that_names_them(db: Database) -> None:
    later = NOON + timedelta(hours=1)
    async with db.begin() as s:
        first = replace(an_event("a", "eu"), at=NOON, actor="ada", kind=EventKind.SERVER_ADDED)
        told = [
            first,
            replace(first, model="b", server="s1"),
            replace(first, fleet="us", at=later, kind=EventKind.SERVER_REMOVED),
            replace(first, actor="grace", at=later, kind=EventKind.MODEL_CREATED),
        ]
        await journal.append(s, *told)
        whole: dict[str, Any] = {"between": (1, 4), "limit": 10}
        found = [
            [one.seq for one in await journal.newest(s, wanted, **{**whole, **more})]
            for wanted, more in (
                (Wanted(), {}),
                (Wanted(), {"limit": 2}),
                (Wanted(), {"between": (2, 3)}),
                (Wanted(fleet="us"), {}),
                (Wanted(model="b", server="s1"), {}),
                (Wanted(actor="grace"), {}),
                (Wanted(kind="server"), {}),
                (Wanted(kind="server.added"), {}),
                (Wanted(kind="serv"), {}),
                (Wanted(since=later), {}),
                (Wanted(until=later), {}),
            )
        ]
        assert await journal.told_at(s, 3) == later
        assert await journal.told_at(s, 5) is None
    every = [[1, 2, 3, 4], [3, 4], [2, 3], [3], [2], [4], [1, 2, 3], [1, 2], [], [3, 4], [1, 2]]
    assert found == every
