"""Few pass a turnstile at once; in a crowd one after the other, and nobody is kept out for good."""

import asyncio

from control_plane.reconcile.turnstile import FREE, Turnstile
from tests.scenario.stage import until


async def test_few_pass_at_once_and_a_crowd_one_by_one_until_all_are_inside() -> None:
    gate, leave = Turnstile(), asyncio.Event()
    inside: list[int] = []

    async def visit(number: int) -> None:
        async with gate:
            inside.append(number)
            await leave.wait()

    async def count() -> int:
        return len(inside)

    visits = [asyncio.create_task(visit(number)) for number in range(FREE + 3)]
    await asyncio.sleep(0)
    assert inside == list(range(FREE))
    await until(count, lambda seen: seen == FREE + 3)
    assert inside == list(range(FREE + 3))
    leave.set()
    await asyncio.gather(*visits)
    async with asyncio.timeout(10), gate:
        pass


async def test_who_gives_up_inside_makes_room() -> None:
    gate, leave = Turnstile(), asyncio.Event()

    async def visit() -> None:
        async with gate:
            await leave.wait()

    visits = [asyncio.create_task(visit()) for _ in range(FREE)]
    await asyncio.sleep(0)
    for one in visits:
        one.cancel()
    await asyncio.gather(*visits, return_exceptions=True)
    again = asyncio.create_task(visit())
    await asyncio.sleep(0)
    leave.set()
    await again
    assert gate.crowded is False
