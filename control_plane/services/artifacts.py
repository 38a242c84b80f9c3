"""Looks at artifacts from where we stand: a base path is the servers' word for a place.

A fleet's `path_map` says where we see it. Storage may hang, so every look runs in a thread and has
an end; what a thread still does after that is forgotten.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from control_plane.domain.artifact import Absent, Artifact, Broken, Complete, Partial, digest_of
from control_plane.domain.errors import ArtifactMissing, FieldInvalid
from control_plane.domain.fleet import Fleet, our_path
from control_plane.serving import saved_model
from control_plane.serving.saved_model import SAVED_MODEL

LOOK_S: Final = 10.0
HASH_S: Final = 3_600.0
BETWEEN_LOOKS_S: Final = 0.3  # long enough for a copy under way to show in a size
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The versions under a base path, and the names that should be versions but cannot be read."""

    place: str
    versions: Mapping[int, Artifact] = field(default_factory=dict)
    spoilt: tuple[str, ...] = ()


def places(fleets: Iterable[Fleet], base_path: str) -> tuple[str, ...]:
    """Where we may see a base path: once for each different view that a fleet gives us."""
    seen = (our_path(one.path_map, base_path) for one in fleets if one.storage == "visible")
    return tuple(dict.fromkeys(seen)) or (base_path,)


async def check_base_path(where: tuple[str, ...]) -> None:
    """Let pass a base path that at least one view shows, and that is no version itself.

    Raises:
        ArtifactMissing: nothing is seen there; `looked_for` names every place.
        FieldInvalid: it is the directory of a version, not the parent of versions.
    """
    for place in where:
        if not isinstance(await in_thread(partial(saved_model.inspect, place)), Absent):
            text = f"{place} holds {SAVED_MODEL}: it is a version, not the parent of versions"
            raise FieldInvalid("base_path", text, hint="give the directory above it")
    await _first(where, saved_model.list_versions)


async def one_version(where: tuple[str, ...], number: int) -> Artifact:
    """Look at one version, twice if it seems complete: its sizes must be the same.

    Raises:
        ArtifactMissing: no view answers in time.
    """
    look = await _version(where, number)
    if not isinstance(look, Complete):
        return look
    await asyncio.sleep(BETWEEN_LOOKS_S)
    return _still(look, await _version(where, number))


async def all_versions(where: tuple[str, ...]) -> Found:
    """Look at every version under a base path, twice.

    Raises:
        ArtifactMissing: no view shows the base path.
    """
    before = await _first(where, _everything)
    await asyncio.sleep(BETWEEN_LOOKS_S)
    after = await _first((before.place,), _everything)
    looks = {
        number: _still(before.versions.get(number), look) for number, look in after.versions.items()
    }
    return Found(after.place, looks, after.spoilt)


async def digest(where: tuple[str, ...], number: int) -> str:
    """Return the digest of a version's files.

    Raises:
        ArtifactMissing: it is not seen, or reading it took longer than `HASH_S`.
    """
    files = await _first(where, lambda place: _hashes(place, number), HASH_S)
    return digest_of(files)


def _hashes(place: str, number: int) -> dict[str, str]:
    versions, _ = saved_model.list_versions(place)
    if number not in versions:
        looked_for = f"{place}/{number}"
        raise ArtifactMissing(f"{looked_for} does not exist", looked_for=looked_for)
    return saved_model.digest_files(versions[number])


def _everything(place: str) -> Found:
    versions, spoilt = saved_model.list_versions(place)
    looks = {number: saved_model.inspect(path) for number, path in sorted(versions.items())}
    return Found(place, looks, spoilt)


def _still(before: Artifact | None, after: Artifact) -> Artifact:
    if not isinstance(after, Complete):
        return after
    if isinstance(before, Complete) and before.files == after.files:
        return after
    return Partial("its files are still changing")


async def _version(where: tuple[str, ...], number: int) -> Artifact:
    looks = [
        (await in_thread(partial(saved_model.presence, place, [number]))).versions[number]
        for place in where
    ]
    return next((one for one in looks if not isinstance(one, Absent)), looks[0])


async def _first(where: tuple[str, ...], look: Callable[[str], T], timeout_s: float = LOOK_S) -> T:
    """What the first place that can be seen shows."""
    reasons = []
    for place in where:
        try:
            return await in_thread(partial(look, place), timeout_s)
        except ArtifactMissing as error:
            reasons.append(error.message)
    hint = "check the path and the fleet's path_map; force goes on all the same"
    raise ArtifactMissing("; ".join(reasons), hint=hint, looked_for=list(where))


async def in_thread(look: Callable[[], T], timeout_s: float = LOOK_S) -> T:
    """Look at storage in a thread, for as long as that at most.

    Raises:
        ArtifactMissing: it did not answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(look)
    except TimeoutError:
        raise ArtifactMissing(f"storage did not answer within {timeout_s:g} s") from None


def fault_of(artifact: Artifact) -> str:
    """Why an artifact cannot be served; "" when it is complete."""
    match artifact:
        case Complete():
            return ""
        case Partial(reason):
            return f"not complete: {reason}"
        case Broken(reason):
            return f"broken: {reason}"
        case Absent(reason):
            return f"absent: {reason}"
