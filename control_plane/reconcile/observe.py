"""Effects that read: what a server says, what a version answers, what storage shows of it.

Nothing here decides or writes, and nothing waits for longer than it was told to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeVar

from control_plane.domain import artifact
from control_plane.domain.artifact import Absent, Broken, Complete, Partial
from control_plane.domain.errors import ArtifactBroken, ArtifactMissing, DeadlineExpired, Transient
from control_plane.domain.observed import Instant, Look, Presence
from control_plane.domain.questions import Questions
from control_plane.domain.signature import Signatures
from control_plane.domain.state import Ability, Able, LabelAnswer, VersionStatus
from control_plane.serving import saved_model
from control_plane.serving.client import ModelServer, no_thread, nothing_listens
from control_plane.serving.warmup import warm_up_requests

STORAGE_S = 2.0
FRESH_S = 1.0  # how long a look at storage is good for
_THREADS = 8  # a hung file system takes these and no more
_NOBODY = "_cp_"  # no model has this name: asked when there is nothing else to ask
T = TypeVar("T")


async def look(server: ModelServer, asked: Questions, at: Instant, timeout_s: float) -> Look:
    """Ask a server all questions; what it left unanswered is left out, and no look is full then.

    Each answer has `timeout_s`; when one does not come in time the rest is not asked, so many
    questions to a server far away take as long as they take, and a server that hangs no longer.
    """
    statuses: dict[str, Mapping[int, VersionStatus]] = {}
    labels: dict[str, dict[str, LabelAnswer]] = {}
    markers: dict[tuple[str, str], LabelAnswer] = {}

    async def status(name: str) -> None:
        statuses[name] = await server.status(name, timeout_s=timeout_s)

    async def label(name: str, one: str) -> None:
        labels.setdefault(name, {})[one] = await server.label(name, one, timeout_s=timeout_s)

    async def marker(name: str, one: str) -> None:
        markers[name, one] = await server.label(name, one, timeout_s=timeout_s)

    calls: list[Callable[[], Awaitable[None]]] = [partial(marker, *one) for one in asked.markers]
    calls += [partial(status, name) for name in asked.statuses]
    calls += [partial(label, *one) for one in asked.labels]
    calls = calls or [partial(status, _NOBODY)]
    silences, trips = await _answers(calls)
    statuses.pop(_NOBODY, None)
    return Look(
        at=at,
        reachable=any(one is None for one in silences),
        statuses=statuses,
        labels=labels,
        markers=markers,
        full=asked.full and len(silences) == len(calls) and all(one is None for one in silences),
        exhausted=any(one is not None and no_thread(one) for one in silences),
        closed=all(one is not None and nothing_listens(one) for one in silences),
        trip_s=min(trips, default=0.0),
    )


async def _answers(
    calls: Sequence[Callable[[], Awaitable[None]]],
) -> tuple[list[Transient | None], list[float]]:
    """Make the calls in their order, two at a time.

    Return why each was not answered, or None, and how many seconds each answer took.
    """
    silences: list[Transient | None] = []
    trips: list[float] = []
    turns = iter(calls)

    async def work() -> None:
        for call in turns:
            if any(isinstance(one, DeadlineExpired) for one in silences):
                return
            began = perf_counter()
            try:
                await call()
            except Transient as error:
                silences.append(error)
            else:
                silences.append(None)
                trips.append(perf_counter() - began)

    if len(calls) == 1:
        await work()
    else:
        await asyncio.gather(work(), work())
    return silences, trips


@dataclass(frozen=True, slots=True)
class Material:
    """What a version can be asked with."""

    place: str  # its base path as we see it; "" where we do not
    signatures: Signatures | None  # None: the server is asked for them


async def ask(
    server: ModelServer, storage: "Storage", one: tuple[str, int], material: Material, s: float
) -> Able:
    """Ask a version one real request, for at most `s` seconds.

    A version that refuses every sample is unproven; then its files decide, where we see them.
    """
    model, version = one
    warm_up = await storage.warm_up(material.place, version) if material.place else b""
    signatures = material.signatures
    found = await server.able(model, version, warm_up=warm_up, signatures=signatures, timeout_s=s)
    if found.ability is not Ability.UNPROVEN or not material.place:
        return found
    files = await storage.presence(material.place, frozenset({version}))
    if files.base_path is None:
        return Able(Ability.RETRY, "storage did not answer, and a sample proves nothing")
    fault = files.faults.get(version)
    return Able(Ability.UNABLE, fault) if fault else found


class Storage:
    """Looks at artifacts in threads; a look that hangs is given up, and not begun twice."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")
        self._seen: dict[tuple[str, frozenset[int]], tuple[float, Presence]] = {}
        self._running: dict[tuple[str, frozenset[int]], asyncio.Task[Presence]] = {}

    async def presence(self, place: str, versions: frozenset[int]) -> Presence:
        """Say what is seen of a base path and versions; nothing, when storage does not answer."""
        key = (place, versions)
        at, found = self._seen.get(key, (float("-inf"), Presence()))
        if self._monotonic() - at <= FRESH_S:
            return found
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._look(place, versions))
            self._running[key].add_done_callback(lambda _: self._running.pop(key, None))
        try:
            async with asyncio.timeout(STORAGE_S):
                return await asyncio.shield(self._running[key])
        except TimeoutError:
            return Presence()

    async def warm_up(self, place: str, version: int) -> bytes:
        """Return a request recorded with a version; empty if there is none to be had."""
        try:
            async with asyncio.timeout(STORAGE_S):
                found = await self._in_thread(lambda: warm_up_requests(f"{place}/{version}", 1))
        except (ArtifactBroken, ArtifactMissing, TimeoutError):
            return b""
        return found[0].request if found else b""

    async def close(self) -> None:
        """Give up what runs; a thread that hangs is left behind."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look(self, place: str, versions: frozenset[int]) -> Presence:
        found = _told(await self._in_thread(lambda: saved_model.presence(place, versions)))
        now = self._monotonic()
        self._seen = {k: one for k, one in self._seen.items() if now - one[0] <= FRESH_S}
        self._seen[place, versions] = (now, found)
        return found

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _told(found: artifact.Presence) -> Presence:
    faults: dict[int, str] = {}
    for version, one in found.versions.items():
        match one:
            case Partial(reason) | Broken(reason) | Absent(reason):
                faults[version] = reason
            case Complete():
                pass
    return Presence(
        base_path=found.base_exists,
        complete=frozenset(found.versions) - frozenset(faults),
        faults=faults,
        broken=frozenset(v for v, one in found.versions.items() if isinstance(one, Broken)),
    )
