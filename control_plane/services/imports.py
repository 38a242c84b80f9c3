"""Imports an existing `models.config`: what servers show of it becomes what their fleet serves.

Nothing is pushed, and no rollout begins: they serve it already. Servers and storage are looked at
before the transaction.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from control_plane.domain.assigned import owner_label, traits_of
from control_plane.domain.assignment import Assignment, Want
from control_plane.domain.catalog import Model, Version
from control_plane.domain.errors import AlreadyExists, NotFound, Transient
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.importing import (
    FirstPlan,
    Listed,
    Resolution,
    Shown,
    first_plan,
    resolved,
)
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.revision import Deployment, Kind, Revision
from control_plane.domain.state import Resolved, State, VersionStatus
from control_plane.services import catalog as catalogs
from control_plane.services.adoption import verify
from control_plane.services.changes import Call
from control_plane.services.commit import Commit
from control_plane.services.sight import Sight, look
from control_plane.services.transitions import append, revision_event
from control_plane.serving.client import ModelServer
from control_plane.serving.config import read_config
from control_plane.store import catalog, fleets, journal, revisions
from control_plane.store.database import Database, Session, installation

ASK_S: Final = 2.0
AT_A_TIME: Final = 16
USUAL_LABELS: Final = frozenset({"stable", "canary"})
_SETTLED: Final = 0.0  # an instant long ago: what a server shows is not waited out here
Connect = Callable[[str], ModelServer]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import."""

    config: str  # a ModelServerConfig in text proto
    labels: frozenset[str] = frozenset()  # names to ask for besides those in the file and the usual
    server: str = ""  # look at this one only
    force: bool = False  # register versions whose files we do not see


@dataclass(frozen=True, slots=True)
class Registered:
    """What was registered now, as it was not known before."""

    models: tuple[Model, ...]
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it, or would."""

    revision: Revision | None  # None: all of it was deployed so already
    found: Resolution
    base_paths: Mapping[str, str]
    registered: Registered
    plans: Mapping[str, FirstPlan]  # by server


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a server answered to one round of questions; None: it did not."""

    server: Server
    statuses: Mapping[str, Mapping[int, VersionStatus]] | None
    labels: Mapping[str, Mapping[str, int]]


async def import_config(
    db: Database,
    fleet: str,
    request: ImportRequest,
    *,
    connect: Connect,
    call: Call,
    commit: Commit[Imported],
) -> Imported:
    """Register what a config file lists, and make what servers show of it the desired state.

    Raises:
        NotFound: no such fleet or server.
        FieldInvalid: the file is no config, or cannot be resolved.
        StillLoading: a server has yet to load some of it.
        ServersDiffer: servers do not serve the same of it.
        AlreadyExists: a model is registered or deployed otherwise.
        ArtifactMissing: the files of a version are not seen, and `force` is not set.
    """
    listed = read_config(request.config)
    async with db.read() as s:
        sight, owner = await look(s, fleet), owner_label(await installation(s), fleet)
    looked = await _look(connect, _chosen(sight, request.server), listed, sight, request.labels)
    seen = {one.server.name: _shown(one, listed) for one in looked if one.statuses is not None}
    found = resolved(listed, seen)
    base_paths = {one.name: one.base_path for one in listed if one.name in found.deployments}
    fresh = await _registry(db, found.deployments, base_paths, request, call)
    async with db.begin() as s:
        await fleets.lock_fleet(s, fleet)
        made = await _write(s, fleet, found.deployments, fresh, call)
        if made is not None and seen:
            await verify(s, made, call.now)
        wants = await _wants(s, fleet)
        plans = {one.server.name: _planned(one, wants, owner, sight, call) for one in looked}
        done = Imported(made, found, base_paths, fresh, plans)
        await commit(s, done)
    return done


def _chosen(sight: Sight, name: str) -> tuple[Server, ...]:
    chosen = tuple(one for one in sight.servers if name in ("", one.name))
    if name and not chosen:
        fleet = sight.fleet.name
        raise NotFound(f"the fleet {fleet} has no server {name}", fleet=fleet, server=name)
    return chosen


async def _look(
    connect: Connect,
    servers: Iterable[Server],
    listed: Iterable[Listed],
    sight: Sight,
    labels: frozenset[str],
) -> list[_Looked]:
    asked = {one.name: {*one.labels, *labels, *USUAL_LABELS} for one in listed}
    for name, head in sight.heads.items():
        asked.setdefault(name, set()).update(head.deployment.labels)
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(server: Server) -> _Looked:
        async with turns:
            return await _ask(connect(server.address), server, asked)

    return list(await asyncio.gather(*(one(each) for each in servers)))


async def _ask(client: ModelServer, server: Server, asked: Mapping[str, set[str]]) -> _Looked:
    """Ask one server for states and labels; its client keeps few questions open at a time."""

    async def label(name: str, one: str) -> int | None:
        answer = await client.label(name, one, timeout_s=ASK_S)
        return answer.version if isinstance(answer, Resolved) else None

    pairs = [(name, one) for name, labels in sorted(asked.items()) for one in sorted(labels)]
    try:
        statuses = await asyncio.gather(*(client.status(n, timeout_s=ASK_S) for n in sorted(asked)))
        targets = await asyncio.gather(*(label(*one) for one in pairs))
    except Transient:
        return _Looked(server, None, {})
    finally:
        await client.close()
    found: dict[str, dict[str, int]] = {name: {} for name in asked}
    for (name, one), target in zip(pairs, targets, strict=True):
        if target is not None:
            found[name][one] = target
    return _Looked(server, dict(zip(sorted(asked), statuses, strict=True)), found)


def _shown(looked: _Looked, listed: Iterable[Listed]) -> Mapping[str, Shown]:
    statuses = looked.statuses or {}

    def those(name: str, *states: State) -> frozenset[int]:
        return frozenset(v for v, s in statuses[name].items() if s.state in states)

    return {
        one.name: Shown(
            those(one.name, State.AVAILABLE),
            looked.labels[one.name],
            loading=those(one.name, State.START, State.LOADING),
        )
        for one in listed
    }


async def _registry(
    db: Database,
    deployments: Mapping[str, Deployment],
    base_paths: Mapping[str, str],
    request: ImportRequest,
    call: Call,
) -> Registered:
    """Look at the files of what is not registered yet.

    Raises:
        AlreadyExists: a model is registered with another base path.
    """
    known: dict[str, frozenset[int]] = {}
    models = []
    async with db.read() as s:
        there = set(await catalog.model_names(s))
        for name, path in base_paths.items():
            if name in there:
                _same_path(await catalog.model(s, name), path)
                known[name] = frozenset(v.number for v in await catalog.all_versions(s, name))
            else:
                models.append(Model(name, path, call.now, call.actor))
    wanted = [
        Version(name, number, call.now, call.actor)
        for name, one in deployments.items()
        for number in sorted(one.versions - known.get(name, frozenset()))
    ]
    turns = asyncio.Semaphore(AT_A_TIME)

    async def read(one: Version) -> Version:
        async with turns:
            return await catalogs.looked_at(db, one, base_paths[one.model], force=request.force)

    return Registered(tuple(models), tuple(await asyncio.gather(*(read(one) for one in wanted))))


def _same_path(model: Model, path: str) -> None:
    if model.base_path != path:
        text = f"{model.name} is registered with base path {model.base_path}, not {path}"
        raise AlreadyExists(text, model=model.name, base_path=model.base_path)


async def _write(
    s: Session, fleet: str, deployments: Mapping[str, Deployment], fresh: Registered, call: Call
) -> Revision | None:
    head = {name: one.deployment for name, one in (await revisions.head(s, fleet)).items()}
    for name, one in deployments.items():
        if name in head and _gist(head[name]) != _gist(one):
            text = f"the fleet {fleet} serves {name} already, and otherwise than its servers show"
            raise AlreadyExists(text, hint="change its deployment, or undeploy it", model=name)
    for model in fresh.models:
        await catalog.add_model(s, model)
    for version in fresh.versions:
        await catalogs.enter(s, version)
    changes = {name: one for name, one in deployments.items() if name not in head}
    events = [_created(one) for one in fresh.models]
    made = await append(s, fleet, Kind.IMPORT, changes, call.writer) if changes else None
    if made is not None:
        events.append(revision_event(made, ""))
    await journal.append(s, *events)
    return made


def _gist(deployment: Deployment) -> tuple[frozenset[int], dict[str, int]]:
    return deployment.versions, dict(deployment.labels)


def _created(model: Model) -> Event:
    data = {"base_path": model.base_path}
    return Event(
        EventKind.MODEL_CREATED, model.created_at, model.created_by, model=model.name, data=data
    )


async def _wants(s: Session, fleet: str) -> dict[str, Want]:
    """What every server of the fleet is to be given."""
    head = await revisions.head(s, fleet)
    return {
        name: Want(
            (await catalog.model(s, name)).base_path, one.deployment.versions, one.deployment.labels
        )
        for name, one in head.items()
    }


def _planned(
    looked: _Looked, wants: Mapping[str, Want], owner: str, sight: Sight, call: Call
) -> FirstPlan:
    traits = traits_of(looked.server.flags, opaque=sight.fleet.storage == "opaque")
    assignment = Assignment(wants, owner, traits=traits)
    return first_plan(assignment, _as_observed(looked, sight), call.now.timestamp())


def _as_observed(looked: _Looked, sight: Sight) -> Observed:
    """What the loop would know of a server after such a look."""
    if looked.statuses is None:
        return Observed()
    known = sight.of(looked.server.name)
    models = {
        name: {v: VersionSeen(s.state, _SETTLED, s.error_code, s.error) for v, s in some.items()}
        for name, some in looked.statuses.items()
    }
    return replace(
        Observed(),
        at=1.0,
        looked_at=1.0,
        reachable=True,
        models={**known.models, **models},
        labels={**known.labels, **looked.labels},
    )
