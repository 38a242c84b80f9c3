"""The loop in virtual time, and processes that stand still or end."""

import asyncio

import pytest

from tests.simulation.virtual import BEGIN, Node, StandsStill, VirtualLoop


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop()  # type: ignore[abstract]  # nobody asks for what it has not


def test_an_hour_passes_at_once(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == BEGIN + 3600


def test_who_is_frozen_goes_on_where_it_stood(loop: VirtualLoop) -> None:
    seen: list[float] = []

    async def ticks() -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            seen.append(loop.time() - BEGIN)

    async def main() -> None:
        node = Node(loop, "one")
        job = node.start(ticks())
        await asyncio.sleep(1.5)
        node.freeze()
        await asyncio.sleep(10)
        node.thaw()
        await job

    loop.run_until_complete(main())
    assert seen == [1.0, 11.5, 12.5, 13.5]


def test_who_is_killed_does_nothing_more(loop: VirtualLoop) -> None:
    done: list[str] = []

    async def writes() -> None:
        asyncio.get_running_loop().call_later(2, done.append, "late")
        while True:
            await asyncio.sleep(1)
            done.append("tick")

    async def main() -> None:
        node = Node(loop, "one")
        node.start(writes())
        await asyncio.sleep(1.5)
        await node.kill()
        await asyncio.sleep(10)

    loop.run_until_complete(main())
    assert done == ["tick"]


def test_a_loop_in_which_everybody_waits_says_so(loop: VirtualLoop) -> None:
    with pytest.raises(StandsStill):
        loop.run_until_complete(loop.create_future())
