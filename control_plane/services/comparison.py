"""Two versions of a model, or two states of a fleet, side by side."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from control_plane.domain import signature
from control_plane.domain.catalog import Version
from control_plane.domain.signature import Signatures, TensorSpec
from control_plane.services import timeline
from control_plane.store import catalog, fleets
from control_plane.store.database import Database

Json = dict[str, Any]


async def versions(db: Database, model: str, before: int, after: int) -> Json:
    """Return two versions, what callers would notice between them, and every tensor of both.

    Raises:
        NotFound: no such model or version.
    """
    async with db.read() as s:
        await catalog.model(s, model)
        old, new = await catalog.version(s, model, before), await catalog.version(s, model, after)
    ours, theirs = signature.from_json(old.signatures), signature.from_json(new.signatures)
    verdict = signature.diff(ours, theirs)
    return {
        "model": model,
        "before": _version(old),
        "after": _version(new),
        "verdict": verdict.verdict,
        "changes": [
            {
                "kind": one.kind,
                "where": one.where,
                "before": one.before,
                "after": one.after,
                "breaking": one.breaking,
            }
            for one in verdict.changes
        ],
        "tensors": list(_tensors(ours, theirs)),
        "words": [
            {"name": kind, "rows": _rows(getattr(old, kind), getattr(new, kind))}
            for kind in ("metrics", "tags")
        ],
    }


async def states(db: Database, fleet: str, before: datetime, after: datetime | None) -> Json:
    """Return what a fleet should have served at two times, model by model; None is now.

    Raises:
        NotFound: no such fleet.
    """
    old = await timeline.state(db, fleet, before)
    new = await timeline.state(db, fleet, after)
    return {"before": old, "after": new, "models": changes(old, new)}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """Return every model of two states and what became of it; what is the same comes last."""
    old, new = before["deployments"], after["deployments"]
    found = [
        {
            "model": model,
            "before": old.get(model),
            "after": new.get(model),
            "change": _change(old.get(model), new.get(model)),
        }
        for model in sorted({*old, *new})
    ]
    return sorted(found, key=lambda one: one["change"] == "same")


async def names(db: Database) -> Json:
    """Return the names of all fleets and models, to choose from."""
    async with db.read() as s:
        return {
            "fleets": [one.name for one in await fleets.all_fleets(s)],
            "models": list(await catalog.model_names(s)),
        }


async def numbers(db: Database, model: str) -> list[int]:
    """Return the numbers of a model's versions, the highest first; none of an unknown one."""
    async with db.read() as s:
        found = await catalog.all_versions(s, model)
    return sorted((one.number for one in found), reverse=True)


def _change(old: Json | None, new: Json | None) -> str:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    return "same" if {**old, "revision": 0} == {**new, "revision": 0} else "changed"


def _version(version: Version) -> Json:
    return {
        "version": version.number,
        "size_bytes": version.size_bytes,
        "digest": version.digest,
        "fault": version.fault,
        "description": version.description,
        "source": version.source,
        "created_at": version.created_at.isoformat(),
        "created_by": version.created_by,
    }


def _rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Json]:
    """Return names with both values; the difference of two numbers is told."""
    return [
        {
            "name": name,
            "before": old.get(name),
            "after": new.get(name),
            "same": old.get(name) == new.get(name),
            "difference": _difference(old.get(name), new.get(name)),
        }
        for name in sorted({*old, *new})
    ]


def _difference(old: object, new: object) -> float | None:
    numbers_both = isinstance(old, int | float) and isinstance(new, int | float)
    return float(new) - float(old) if numbers_both and old != new else None  # type: ignore[arg-type]


def _tensors(old: Signatures, new: Signatures) -> Iterator[Json]:
    for name in sorted({*old, *new}):
        for side in ("inputs", "outputs"):
            was: Mapping[str, TensorSpec] = getattr(old.get(name), side, {})
            now: Mapping[str, TensorSpec] = getattr(new.get(name), side, {})
            for tensor in sorted({*was, *now}):
                before, after = was.get(tensor), now.get(tensor)
                yield {
                    "signature": name,
                    "side": side,
                    "tensor": tensor,
                    "before": str(before) if before else "",
                    "after": str(after) if after else "",
                    "same": before == after,
                }
