"""Everything about one model in one fleet: what should be served, and what each server says."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from control_plane.domain.catalog import Model, Version
from control_plane.domain.errors import NothingToRollBackTo
from control_plane.domain.fleet import Server
from control_plane.domain.observed import VersionSeen
from control_plane.domain.promotion import STABLE, rollback_target
from control_plane.domain.signature import diff, from_json
from control_plane.domain.state import State
from control_plane.services import configs, model_past
from control_plane.services.attention import Watched
from control_plane.services.changes import history
from control_plane.services.overview import model_state
from control_plane.services.sight import Sight, look
from control_plane.services.views import deployment_json, server_status
from control_plane.store import catalog, fleets, leases, revisions
from control_plane.store.database import Database, Page, Session

Json = dict[str, Any]
MOST_VERSIONS: Final = 200


async def model_view(
    db: Database, fleet: str, name: str, now: datetime, last: Sight | None = None
) -> Json:
    """Return how a model stands in a fleet; one that is not served there says so.

    What has not changed since the last look at the fleet is taken from there.

    Raises:
        NotFound: no such fleet or model.
    """
    async with db.read() as s:
        watched = Watched(await look(s, fleet, last), await leases.holder(s, fleet) is not None)
        model = await catalog.model(s, name)
        listed = await catalog.versions(s, name, Page(MOST_VERSIONS))
        known = await catalog.sizes(s, (name,))
        stable = await _stable(s, watched.sight, name, known)
        told = await model_past.past(s, fleet, name)
        back = await _ways_back(s, watched.sight, name, [number for _, number in known])
        config = await configs.of_model(s, watched.sight, name)
        others = await _elsewhere(s, fleet, name)
    sight, then = watched.sight, _past(told, watched.sight, name, now)
    counts = _loaded(sight, name), model_past.loaded_in(then["loads"])
    deployment = deployment_json(sight, name) if name in sight.heads else None
    return {
        "at": now.isoformat(),
        "fleet": fleet,
        "led": watched.led,
        "model": model_json(model),
        "state": model_state(watched, name, deployment["status"]["phase"]) if deployment else "",
        "deployment": deployment,
        "labels": [_label(sight, name, one, told, back) for one in _labels(sight, name)],
        "unlabelled": _unlabelled(deployment),
        "servers": [_server(watched, one) for one in sight.servers],
        "matrix": _matrix(sight, name),
        "versions": [_version(sight, one, counts, stable) for one in listed.items],
        "versions_known": len(known),
        "elsewhere": others,
        "config": config,
        **then,
    }


def _past(told: model_past.Past, sight: Sight, model: str, now: datetime) -> Json:
    return {
        "availability": model_past.availability(told, sight, model, now),
        "loads": model_past.load_times(told),
        "changes": model_past.changes(told, model),
    }


async def _stable(
    s: Session, sight: Sight, model: str, known: Collection[tuple[str, int]]
) -> Version | None:
    """Return the version that is `stable` here; None if none is, or it was never registered."""
    number = _labels(sight, model).get(STABLE)
    if number is None or (model, number) not in known:
        return None
    return await catalog.version(s, model, number)


async def _elsewhere(s: Session, fleet: str, model: str) -> list[Json]:
    """Return the labels of the model in other fleets that serve it."""
    heads = {
        one.name: await revisions.head_of(s, one.name, model)
        for one in await fleets.all_fleets(s)
        if one.name != fleet
    }
    return [
        {"fleet": name, "labels": dict(head.deployment.labels)}
        for name, head in heads.items()
        if head is not None
    ]


async def _ways_back(
    s: Session, sight: Sight, model: str, registered: Sequence[int]
) -> Mapping[str, int]:
    """Return by label the version that a rollback would take it to; none where there is none."""
    found = {}
    for label, version in _labels(sight, model).items():
        seen = await history(s, sight.fleet.name, model, label)
        try:
            found[label] = rollback_target(seen, version, registered)
        except NothingToRollBackTo:
            continue
    return found


def _labels(sight: Sight, model: str) -> Mapping[str, int]:
    head = sight.heads.get(model)
    return dict(sorted(head.deployment.labels.items(), key=_stable_first)) if head else {}


def _stable_first(label: tuple[str, int]) -> tuple[bool, str]:
    return label[0] != STABLE, label[0]


def _label(
    sight: Sight, model: str, label: str, told: model_past.Past, back: Mapping[str, int]
) -> Json:
    version, target = _labels(sight, model)[label], back.get(label)
    instant = target is not None and all(
        sight.of(one.name).available(model, target) for one in sight.ours
    )
    return {
        "label": label,
        "version": version,
        "servers": sum(sight.answers(one.name, model, label, version) for one in sight.ours),
        "of": len(sight.ours),
        "answers": dict(sight.answered(model, label)),
        "moving": sight.moves(model, label),
        "moved": model_past.moved_by(told, model, label),
        "rollback": {"version": target, "instant": instant} if target is not None else None,
    }


def _unlabelled(deployment: Json | None) -> Json | None:
    """Say what callers without a label or number get, and whether that is not `stable`."""
    if deployment is None:
        return None
    version, stable = deployment["unlabelled_version"], deployment["labels"].get(STABLE)
    return {"version": version, "stable": stable, "differs": stable not in (None, version)}


def _server(watched: Watched, server: Server) -> Json:
    sight = watched.sight
    at = sight.last_seen.get(server.name)
    return {
        "server": server.name,
        "address": server.address,
        "rest_address": server.rest_address,
        "status": watched.status(server),
        "sentence": server_status(sight, server)[1],
        "known": watched.led and sight.of(server.name).reachable,
        "ours": server.taken_over,
        "drained": server.drain is not None,
        "last_seen_at": at.isoformat() if at else None,
    }


def _matrix(sight: Sight, model: str) -> list[Json]:
    """Return the states of each version that is wanted or seen, by server, the highest first."""
    head, labels = sight.heads.get(model), _labels(sight, model)
    wanted = head.deployment.versions if head else frozenset[int]()
    seen = {one.name: sight.of(one.name).models.get(model, {}) for one in sight.servers}
    shown = {number for states in seen.values() for number, one in states.items() if _tells(one)}
    return [
        {
            "version": number,
            "wanted": number in wanted,
            "labels": [label for label, version in labels.items() if version == number],
            "states": {
                server: _state(states[number])
                for server, states in seen.items()
                if number in states
            },
        }
        for number in sorted(shown | wanted, reverse=True)
    ]


def _tells(one: VersionSeen) -> bool:
    """Whether it is more than that a version was unloaded once."""
    return one.state is not State.END or one.failed


def _state(one: VersionSeen) -> Json:
    return {
        "state": one.state.name,
        "since": _instant(one.since),
        "failed": one.failed,
        "error_code": one.error_code,
        "error": one.error,
        "able": str(one.able.ability) if one.able is not None else None,
    }


def _loaded(sight: Sight, model: str) -> Counter[int]:
    """Count by version the servers of ours that answer and have it AVAILABLE."""
    return Counter(
        number
        for server in sight.ours
        if sight.of(server.name).reachable
        for number, one in sight.of(server.name).models.get(model, {}).items()
        if one.state is State.AVAILABLE
    )


@lru_cache(maxsize=4_096)
def _instant(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def _verdict(one: Version, stable: Version | None) -> Json | None:
    """Judge a version by what callers of `stable` would notice; None where nothing is known."""
    if stable is None or not (stable.signatures and one.signatures):
        return None
    if one.signatures == stable.signatures:
        return {"against": stable.number, "verdict": "identical"}
    verdict = diff(from_json(stable.signatures), from_json(one.signatures))
    return {"against": stable.number, "verdict": verdict.verdict}


def _version(
    sight: Sight,
    one: Version,
    known: tuple[Counter[int], Mapping[int, float]],
    stable: Version | None,
) -> Json:
    loaded, times = known
    head = sight.heads.get(one.model)
    labels = head.deployment.labels if head else {}
    return {
        "version": one.number,
        "labels": [label for label, version in sorted(labels.items()) if version == one.number],
        "wanted": head is not None and one.number in head.deployment.versions,
        "loaded": loaded[one.number],
        "of": len(sight.ours),
        "fault": one.fault,
        "size_bytes": one.size_bytes,
        "digest": one.digest or "pending",
        "loaded_in_s": times.get(one.number),
        "source": one.source,
        "description": one.description,
        "tags": dict(one.tags),
        "metrics": dict(one.metrics),
        "signatures": sorted(one.signatures),
        "against_stable": _verdict(one, stable),
        "created_at": one.created_at.isoformat(),
        "created_by": one.created_by,
    }


def model_json(model: Model) -> Json:
    """A model, as the API shows it."""
    return {
        "name": model.name,
        "base_path": model.base_path,
        "description": model.description,
        "owner": model.owner,
        "tags": dict(model.tags),
        "default_strategy": model.default_strategy,
        "created_at": model.created_at.isoformat(),
        "created_by": model.created_by,
    }
