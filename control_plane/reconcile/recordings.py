"""Finds what a rollout's gates may ask: which versions, which requests, on which server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from control_plane.domain.errors import ArtifactMissing, DeadlineExpired
from control_plane.domain.fleet import our_path
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.world import Tracked, World
from control_plane.serving import storage
from control_plane.serving.replay import Pair, requests_at, requests_in
from control_plane.serving.warmup import WARM_UP, Recorded

READ_S = 60.0  # a file of a thousand large records takes a while


def pairs(live: Live) -> list[Pair]:
    """Return the current and the new version of each model whose label moves."""
    found = (_pair(live, model) for model in live.rollout.models)
    return [one for one in found if one is not None]


def _pair(live: Live, model: str) -> Pair | None:
    before, after = live.before.get(model), live.after.get(model)
    if before is None or after is None:
        return None
    asked_for = live.rollout.label
    for label in sorted(after.labels, key=lambda one: (one != asked_for, one)):
        current, new = before.labels.get(label), after.labels[label]
        if current is not None and current != new:
            return Pair(model, current, new)
    return None


def holder(world: World, fleet: str, pair: Pair) -> Tracked | None:
    """Return the first server that has both versions loaded."""
    for _, it in sorted(world.of(fleet).items()):
        loaded = (it.observed.available(pair.model, v) for v in (pair.current, pair.new))
        if it.observed.reachable and all(loaded):
            return it
    return None


async def recorded(world: World, fleet: str, pair: Pair, most: int) -> Sequence[Recorded]:
    """Return the warm-up requests of the new version, else of the current one; maybe none.

    Raises:
        ArtifactBroken: a file that cannot be replayed; the message names the record.
        ArtifactMissing: we do not see the storage.
        DeadlineExpired: storage does not answer.
    """
    for version in (pair.new, pair.current):
        path = storage.join(_place(world, fleet, pair.model), str(version))
        if found := await _in_thread(path, most):
            return found
    return ()


async def of_set(folder: Path, name: str, most: int) -> Sequence[Recorded]:
    """Return the requests of a stored set: a TFRecord file of PredictionLog.

    Raises:
        ArtifactBroken: a file that cannot be replayed; the message names the record.
        ArtifactMissing: there is no such set.
    """
    file = folder / f"{name}.tfrecord"

    def read() -> list[Recorded]:
        with storage.seen(f"the request set {name}"):
            content = file.read_bytes()
        return requests_in(content, most)

    async with asyncio.timeout(READ_S):
        return await asyncio.to_thread(read)


async def _in_thread(path: str, most: int) -> Sequence[Recorded]:
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.to_thread(requests_at, path, most)
    except TimeoutError:
        raise DeadlineExpired(f"storage does not give {path}/{WARM_UP}") from None


def _place(world: World, fleet: str, model: str) -> str:
    """Where we see what servers see at a model's base path."""
    desired = world.desired.known(fleet)
    if desired is None or desired.fleet.storage != "visible":
        text = "the storage of this fleet is not visible from here"
        raise ArtifactMissing(text, hint="replay a request_set")
    return our_path(desired.fleet.path_map, desired.base_paths[model])
