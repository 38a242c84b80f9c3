"""Models that are promoted together, read by their callers one after the other without a pause."""

import asyncio
import threading

from control_plane.domain.promotion import PromoteRequest, RollbackRequest
from control_plane.domain.rollout import Rollout
from control_plane.services import promotion
from control_plane.services.changes import Call, Outcome, Started
from control_plane.serving.client import GrpcModelServer
from tests.scenario.stage import ASK_S, FLEET, Resolved, Stage, now, until

PAIR = ("ranker", "embedder")
MOST_READS = 200_000


class Reader(threading.Thread):
    """Asks a server itself for the label of one model and then of the other, in a tight loop."""

    def __init__(self, address: str, models: tuple[str, str]) -> None:
        super().__init__(daemon=True)
        self._address, self._models = address, models
        self._enough = threading.Event()
        self.seen: list[tuple[object, object]] = []  # where it changed

    def run(self) -> None:
        asyncio.run(self._read())

    async def _read(self) -> None:
        client = GrpcModelServer(self._address)
        try:
            for _ in range(MOST_READS):
                if self._enough.is_set():
                    return
                first, second = [
                    await client.label(model, "stable", timeout_s=ASK_S) for model in self._models
                ]
                if not self.seen or self.seen[-1] != (first, second):
                    self.seen.append((first, second))
        finally:
            await client.close()

    async def end(self) -> None:
        self._enough.set()
        await asyncio.to_thread(self.join, 20)
        assert not self.is_alive()


def began(stage: Stage, outcome: Outcome) -> Rollout:
    """A change of both models at once."""
    assert isinstance(outcome, Started)
    assert set(outcome.rollout.models) == set(PAIR)
    stage.nudge()
    return outcome.rollout


async def all_read(readers: list[Reader], pair: tuple[object, object]) -> None:
    """Wait until every reader saw this last."""

    async def read() -> list[object]:
        return [one.seen[-1:] for one in readers]

    await until(read, lambda seen: seen == [[pair]] * len(readers))


def call(name: str) -> Call:
    return Call(actor="test", now=now(), new_id=name)


async def test_no_caller_of_two_models_sees_the_new_one_and_then_the_old_other(
    stage: Stage,
) -> None:
    old, new = Resolved(1), Resolved(2)
    server = await stage.server("a")
    await stage.start_loop()
    for model in PAIR:
        await stage.model(model, 1, 2)
        await stage.done(await stage.deploy(model, 1, stable=1))
    readers = [Reader(server.address, PAIR), Reader(server.address, PAIR[::-1])]
    for reader in readers:
        reader.start()
    await all_read(readers, (old, old))
    requests = [(model, PromoteRequest(version=2, force=True)) for model in PAIR]
    outcome = await promotion.promote_group(stage.db, FLEET, requests, call("forth"))
    await stage.done(began(stage, outcome))
    await all_read(readers, (new, new))
    # The reload may fall between the two reads of a pair, so the second one may be ahead.
    forth = {pair for one in readers for pair in one.seen}
    assert forth <= {(old, old), (old, new), (new, new)}
    for reader in readers:
        reader.seen.clear()
    outcome = await promotion.rollback(stage.db, FLEET, PAIR[0], RollbackRequest(), call("back"))
    await stage.done(began(stage, outcome))
    await all_read(readers, (old, old))
    for reader in readers:
        await reader.end()
    back = {pair for one in readers for pair in one.seen}
    assert back <= {(new, new), (new, old), (old, old)}
