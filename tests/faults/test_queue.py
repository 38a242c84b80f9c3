import asyncio
from collections import Counter

import uvloop

from control_plane.domain.errors import StoreBusy
from control_plane.reconcile.queue import KeyedQueue
from tests.scenario.stage import until


async def test_a_key_has_one_pass_at_a_time_and_another_after_a_nudge() -> None:
    running, most, passes = Counter[str](), Counter[str](), Counter[str]()
    gate = asyncio.Event()

    async def work(key: str) -> None:
        running[key] += 1
        passes[key] += 1
        most[key] = max(most[key], running[key])
        await gate.wait()
        running[key] -= 1

    queue = KeyedQueue(work, lambda: 0.5)
    for _ in range(3):
        queue.nudge("a")
        queue.nudge("b")
        await asyncio.sleep(0)
    assert running == {"a": 1, "b": 1}
    gate.set()
    await until(lambda: _now(dict(passes)), lambda seen: seen == {"a": 2, "b": 2})
    await queue.close()
    assert most == {"a": 1, "b": 1}


async def test_a_pass_that_fails_is_tried_again_and_one_that_asks_for_it_too() -> None:
    passes = Counter[str]()

    async def work(key: str) -> float | None:
        passes[key] += 1
        if key == "fails" and passes[key] < 3:
            raise StoreBusy
        if key == "breaks" and passes[key] < 2:
            raise ZeroDivisionError
        return 0.01 if passes[key] < 5 and key == "repeats" else None

    queue = KeyedQueue(work, lambda: 0.0)
    for key in ("fails", "breaks", "repeats"):
        queue.nudge(key)
    wanted = {"fails": 3, "breaks": 2, "repeats": 5}
    await until(lambda: _now(dict(passes)), lambda seen: seen == wanted)
    await queue.close()


async def test_what_is_forgotten_or_closed_is_not_worked_on() -> None:
    begun, cancelled = Counter[str](), Counter[str]()

    async def work(key: str) -> None:
        begun[key] += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled[key] += 1
            raise

    queue = KeyedQueue(work, lambda: 0.0)
    queue.nudge("a")
    queue.nudge("b")
    await until(lambda: _now(dict(begun)), lambda seen: seen == {"a": 1, "b": 1})
    queue.forget("a")
    await until(lambda: _now(dict(cancelled)), lambda seen: seen == {"a": 1})
    await queue.close()
    queue.nudge("c")
    await asyncio.sleep(0)
    assert begun == cancelled == {"a": 1, "b": 1}


async def _now(seen: dict[str, int]) -> dict[str, int]:
    return seen


def test_a_pass_that_is_due_at_once_may_be_asked_for_again_on_either_loop() -> None:
    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(_asked_again()) == 1


async def _asked_again() -> int:
    passes = Counter[str]()

    async def work(key: str) -> None:
        passes[key] += 1

    queue = KeyedQueue(work, lambda: 0.0)
    queue.soon("a", 0.0)
    queue.soon("a", 1.0)
    await until(lambda: _now(dict(passes)), lambda seen: bool(seen))
    await queue.close()
    return passes["a"]
