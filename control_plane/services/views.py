"""What people see: deployments, servers, the status of a fleet; each from one look."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.boot import boot_path, not_kept
from control_plane.domain.errors import NotFound
from control_plane.domain.fleet import Drain, Server
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.revision import All, Latest, Policy, Specific
from control_plane.domain.state import State
from control_plane.services.rollout_view import rollout_json
from control_plane.services.sight import Sight, look
from control_plane.store import leases
from control_plane.store.database import Database, Page, cursor, key_of
from control_plane.store.leases import Lease
from control_plane.store.revisions import Head

Json = dict[str, Any]
_MOVING = frozenset({State.START, State.LOADING, State.UNLOADING})


async def deployment(db: Database, fleet: str, model: str) -> tuple[Json, int]:
    """Return a deployment and the revision that last changed it.

    Raises:
        NotFound: no such fleet, or it does not serve this model.
    """
    async with db.read() as s:
        sight = await look(s, fleet)
    if model not in sight.heads:
        raise NotFound(f"the fleet {fleet} does not serve {model}", fleet=fleet, model=model)
    return deployment_json(sight, model), sight.heads[model].revision


async def deployments(db: Database, fleet: str, page: Page) -> tuple[list[Json], str]:
    """Return a page of a fleet's deployments by model, and the cursor after it."""
    async with db.read() as s:
        sight = await look(s, fleet)
    names, after = _paged(sight.heads, page)
    return [deployment_json(sight, name) for name in names], after


async def server(db: Database, fleet: str, name: str) -> tuple[Json, int]:
    """Return a server with what goes on there, and its rv.

    Raises:
        NotFound: no such fleet or server.
    """
    async with db.read() as s:
        sight, leader = await look(s, fleet), await leases.holder(s, fleet)
    found = next((one for one in sight.servers if one.name == name), None)
    if found is None:
        raise NotFound(f"the fleet {fleet} has no server {name}", fleet=fleet, server=name)
    return _watched(server_view(sight, found), leader), found.rv


async def servers(db: Database, fleet: str, page: Page) -> tuple[list[Json], str]:
    """Return a page of a fleet's servers by name, and the cursor after it."""
    async with db.read() as s:
        sight, leader = await look(s, fleet), await leases.holder(s, fleet)
    by_name = {one.name: one for one in sight.servers}
    names, after = _paged(by_name, page)
    return [_watched(server_view(sight, by_name[name]), leader) for name in names], after


async def fleet_status(db: Database, fleet: str) -> Json:
    """Return servers × models × versions with TensorFlow Serving's own states and error texts.

    `leader` is the replica that reconciles the fleet; null while there is none.
    """
    async with db.read() as s:
        sight, leader = await look(s, fleet), await leases.holder(s, fleet)
    return {
        "fleet": fleet,
        "revision": sight.fleet.head,
        "leader": {"replica": leader.holder, "epoch": leader.epoch} if leader else None,
        "servers": [_watched(server_view(sight, one), leader) for one in sight.servers],
        "deployments": [deployment_json(sight, model) for model in sorted(sight.heads)],
        "rollouts": [rollout_json(one) for one in sight.live],
    }


def deployment_json(sight: Sight, model: str) -> Json:
    """A deployment, as the API shows it."""
    head = sight.heads[model]
    wanted, rollout = head.deployment, sight.rollout_of(model)
    return {
        "fleet": sight.fleet.name,
        "model": model,
        "revision": head.revision,
        "versions": sorted(wanted.versions),
        "labels": dict(wanted.labels),
        "policy": policy_json(wanted.policy),
        "keep_previous": wanted.keep_previous,
        "unlabelled_version": _unlabelled(sight, head),
        "status": _deployment_status(sight, head),
        "rollout": rollout_json(rollout) if rollout else None,
        "updated_at": head.created_at.isoformat(),
        "updated_by": head.actor,
    }


def server_json(server: Server) -> Json:
    """A server as it was registered."""
    flags = {name: getattr(server.flags, name) for name in server.flags.__slots__}
    return {
        "fleet": server.fleet,
        "name": server.name,
        "address": server.address,
        "rest_address": server.rest_address,
        "tls": False,
        "taken_over": server.taken_over,
        "memory_bytes": server.memory_bytes,
        "source": server.source,
        "joined": server.joined,
        "drained": server.drain is not None,
        "drain": _drain_json(server.drain),
        "flags": {name: value for name, value in flags.items() if value is not None},
        "created_at": server.created_at.isoformat(),
    }


def _drain_json(drain: Drain | None) -> Json | None:
    if drain is None:
        return None
    return {"since": drain.at.isoformat(), "actor": drain.actor, "reason": drain.reason}


def _boot_json(sight: Sight, server: Server) -> Json | None:
    path = boot_path(sight.fleet, server.name)
    why_not = not_kept(server)
    return {"path": path, "kept": not why_not, "sentence": why_not} if path else None


def server_view(sight: Sight, server: Server) -> Json:
    """A server with what goes on there."""
    seen = sight.of(server.name)
    status, sentence = server_status(sight, server)
    at = sight.last_seen.get(server.name)
    times = [one for one in (at, _instant(seen.at)) if one is not None]
    return server_json(server) | {
        "status": status,
        "sentence": sentence,
        "last_seen_at": max(times).isoformat() if times else None,
        "boot_config": _boot_json(sight, server),
        "models": {
            model: {
                "versions": {
                    str(number): _version_json(one) for number, one in sorted(versions.items())
                },
                "labels": dict(sight.labels(server.name, model)),
            }
            for model, versions in sorted(seen.models.items())
        },
    }


def _watched(view: Json, leader: Lease | None) -> Json:
    """Say of what was recorded how old it is, while nobody looks at the servers."""
    if leader is not None or view["last_seen_at"] is None:
        return view
    when = f"as of {view['last_seen_at']}: no replica looks at this fleet now"
    return view | {"sentence": f"{view['sentence']} ({when})"}


def server_status(sight: Sight, server: Server) -> tuple[str, str]:
    """How a server is, in one word and in one sentence."""
    seen = sight.of(server.name)
    said = sight.said.get(server.name, {})
    if server.taken_over == (said.get("status") == "not_taken_over"):
        said = {}  # from before it was taken over
    status = str(said.get("status") or _status(sight, server, seen))
    return status, str(said.get("sentence") or _sentence(status, seen))


def policy_json(policy: Policy) -> Json:
    """A version policy, as the API shows it."""
    match policy:
        case Specific():
            return {"specific": {}}
        case Latest(n, auto_load):
            return {"latest": {"n": n, "auto_load": auto_load}}
        case All(auto_load):
            return {"all": {"auto_load": auto_load}}


def _deployment_status(sight: Sight, head: Head) -> Json:
    model, wanted = head.deployment.model, head.deployment
    ours = sight.ours
    states: dict[str, Json] = {}
    for number in sorted(wanted.versions):
        found = (sight.state(one.name, model, number) for one in ours)
        counts = Counter(one.state.name for one in found if one is not None)
        states[str(number)] = dict(counts)
    labels = {
        label: {
            "version": version,
            "servers": sum(sight.answers(one.name, model, label, version) for one in ours),
            "of": len(ours),
        }
        for label, version in wanted.labels.items()
    }
    phase, sentence = _phase(sight, head)
    answers = {label: sight.answered(model, label) for label in wanted.labels}
    told = {"phase": phase, "sentence": sentence, "versions": states, "labels": labels}
    return told | {"answers": answers}


def _phase(sight: Sight, head: Head) -> tuple[str, str]:
    model, ours = head.deployment.model, sight.ours
    if rollout := sight.rollout_of(model):
        return str(rollout.phase), rollout.sentence
    count = len(head.deployment.versions)
    noun = "version" if count == 1 else "versions"
    good = [one.name for one in ours if serves(sight, one.name, head)]
    if not ours:
        return "no_servers", f"{count} {noun} wanted, but no server of this fleet is ours to reload"
    sentence = f"serving {count} {noun} on {len(good)} of {len(ours)} servers"
    others = [one for one in ours if one.name not in good]
    if not others:
        return "converged", sentence
    told = f"{others[0].name}: {server_status(sight, others[0])[1]}"
    away = all(not sight.of(one.name).reachable for one in others)
    return ("degraded" if away else "converging"), f"{sentence}; {told}"


def serves(sight: Sight, server: str, head: Head) -> bool:
    """Whether a server was last seen serving a deployment, all versions and labels of it."""
    model, wanted = head.deployment.model, head.deployment
    seen = sight.of(server)
    loaded = seen.reachable and all(seen.available(model, one) for one in wanted.versions)
    return loaded and all(
        sight.answers(server, model, label, version) for label, version in wanted.labels.items()
    )


def _unlabelled(sight: Sight, head: Head) -> int:
    """The version that callers without a label or number get: the highest that is loaded."""
    model = head.deployment.model
    loaded = [
        number
        for one in sight.ours
        for number in sight.of(one.name).models.get(model, {})
        if sight.of(one.name).available(model, number)
    ]
    return max(loaded, default=max(head.deployment.versions))


def _status(sight: Sight, server: Server, seen: Observed) -> str:
    if not server.taken_over:
        return "not_taken_over"
    if not seen.reachable:
        return "unreachable"
    if seen.wedged:
        return "wedged"
    if any(one.state in _MOVING for one in seen.statuses()):
        return "busy"
    if seen.foreign or seen.other_writer_since:
        return "drifted"
    good = all(serves(sight, server.name, head) for head in sight.heads.values())
    return "ready" if good else "converging"


def _sentence(status: str, seen: Observed) -> str:
    if seen.wedged:
        return seen.wedged
    if not seen.at:
        return "never seen yet"
    return {
        "not_taken_over": "observed only: nobody has taken it over",
        "unreachable": "it does not answer",
        "busy": "versions are loading or unloading",
        "drifted": "somebody else's config was seen on it",
        "ready": "serving all that it should",
    }.get(status, "being brought to what it should serve")


def _version_json(seen: VersionSeen) -> Json:
    document: Json = {"state": seen.state.name, "since": _instant(seen.since)}
    document["since"] = document["since"] and document["since"].isoformat()
    if seen.error_code or seen.error:
        document |= {"error_code": seen.error_code, "error": seen.error}
    if seen.able is not None:
        document |= {"able": str(seen.able.ability), "able_text": seen.able.text}
    return document


def _instant(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _paged(named: Mapping[str, Any], page: Page) -> tuple[list[str], str]:
    key = key_of(page.after, str)
    names = sorted(name for name in named if key is None or name > key[0])
    chosen = names[: page.size]
    return chosen, cursor(chosen[-1]) if len(names) > page.size else ""
