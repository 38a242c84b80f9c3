"""Finds what a rollout's gates may ask: which versions, which requests, on which server."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.domain.errors import ArtifactMissing, DeadlineExpired, ServerUnreachable
from control_plane.domain.fleet import our_path
from control_plane.domain.request_set import Form, RequestSet
from control_plane.domain.signature import Signatures, from_json
from control_plane.reconcile.assignments import Live
from control_plane.reconcile.world import Tracked, World
from control_plane.serving import storage
from control_plane.serving.replay import Pair, requests_at
from control_plane.serving.request_set import requests_of
from control_plane.serving.warmup import WARM_UP, Recorded
from control_plane.store import catalog, request_sets

READ_S = 60.0  # a file of a thousand large records takes a while
ANSWER_S = 10.0  # for one request


@dataclass(frozen=True, slots=True)
class Found:
    """Recorded requests, with where they are from as evidence, or why there are none."""

    requests: Sequence[Recorded] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


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


def lacking(pair: Pair) -> str:
    """Say that there is no such server."""
    return f"no server has versions {pair.current} and {pair.new} of {pair.model} loaded"


async def found(world: World, fleet: str, pair: Pair, name: str, most: int) -> Found:
    """Return the requests of a set; without a name of the model's newest, else the warm-up ones.

    Raises:
        NotFound: the model has no set of this name.
        ArtifactBroken: a record cannot be replayed; `record` says which.
        ArtifactMissing: the new version's files are not seen.
        ServerUnreachable: a set in JSON needs signatures that only a server knows, and none has it.
        DeadlineExpired: storage does not answer.
    """
    known = await _known(world, pair.model, name)
    if known is not None:
        return await _of_set(world, fleet, pair, known, most)
    return await _warm_up(world, fleet, pair, most)


async def _known(world: World, model: str, name: str) -> RequestSet | None:
    async with world.db.read() as s:
        if name:
            return await request_sets.request_set(s, model, name)
        return await request_sets.newest(s, model)


async def _warm_up(world: World, fleet: str, pair: Pair, most: int) -> Found:
    """The warm-up requests of the new version, else of the current one."""
    place = _place(world, fleet, pair.model)
    if not place:
        return Found(why="there is no request set, and the storage of this fleet cannot be seen")
    for version in (pair.new, pair.current):
        try:
            requests = await _in_thread(storage.join(place, str(version)), most)
        except ArtifactMissing:
            if version == pair.new:
                raise
            requests = ()  # it may stay loaded without its files
        if requests:
            return Found(requests, {"warm_up_of": version})
    text = f"neither version {pair.new} nor {pair.current} of {pair.model} has {WARM_UP}"
    return Found(why=f"{text}, and there is no request set")


async def _of_set(world: World, fleet: str, pair: Pair, known: RequestSet, most: int) -> Found:
    async with world.db.read() as s:
        content = await request_sets.content(s, pair.model, known.name)
    signatures = await _signatures(world, fleet, pair) if known.form is Form.JSON else {}
    requests = await asyncio.to_thread(requests_of, content, signatures, most)
    return Found(requests, {"request_set": known.name, "sha256": known.sha256})


async def _signatures(world: World, fleet: str, pair: Pair) -> Signatures:
    """What callers of the current version send; its server knows where the catalog does not."""
    async with world.db.read() as s:
        version = await catalog.version(s, pair.model, pair.current)
    if version.signatures:
        return from_json(version.signatures)
    it = holder(world, fleet, pair)
    if it is None:
        raise ServerUnreachable(lacking(pair))
    _, told = await it.client.metadata(pair.model, at=pair.current, timeout_s=ANSWER_S)
    return told


async def _in_thread(path: str, most: int) -> Sequence[Recorded]:
    try:
        async with asyncio.timeout(READ_S):
            return await asyncio.to_thread(requests_at, path, most)
    except TimeoutError:
        raise DeadlineExpired(f"storage does not give {path}/{WARM_UP}") from None


def _place(world: World, fleet: str, model: str) -> str:
    """Where we see what servers see at a model's base path; "" where we do not."""
    desired = world.desired.known(fleet)
    if desired is None or desired.fleet.storage != "visible":
        return ""
    return our_path(desired.fleet.path_map, desired.base_paths[model])
