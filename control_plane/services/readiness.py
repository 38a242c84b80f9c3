"""Whether callers can be sent somewhere: to a server, to a deployment, to this very process.

A label that is on its way answers with the old or the new version: both are ready.
"""

from collections.abc import Iterable
from typing import Any

from control_plane.domain.errors import FieldInvalid, NotFound
from control_plane.services.sight import Sight
from control_plane.store import journal, migrated
from control_plane.store.database import Database

Json = dict[str, Any]


async def database(db: Database) -> str:
    """Say how the database's schema stands to this program; "ok" and more where it will do.

    Raises:
        StoreBusy: it does not answer.
    """
    async with db.read() as s:
        await journal.last_seq(s)
        at, known = await migrated.at_now(s), migrated.known()
    if at == known[-1]:
        return "ok"
    if at in known:
        return f"the database is at {at}; this program needs {known[-1]}"
    return f"ok: the database is at {at}, which is newer than this program's {known[-1]}"


def of_deployment(sight: Sight, model: str, label: str) -> Json:
    """Say whether some server answers to a label, or to every label if none is named.

    Raises:
        NotFound: the fleet does not serve this model, or it has no such label.
    """
    wanted = _labels(sight, model, label, sight.targets)
    answering = {one: _answering(sight, model, one) for one in wanted}
    silent = [one for one, servers in answering.items() if not servers]
    ready = not silent and bool(wanted or _answering(sight, model, ""))
    told = f"no server answers to {silent[0]}" if silent else "no server serves it"
    return {
        "ready": ready,
        "sentence": "served" if ready else told,
        "servers_serving": min(map(len, answering.values() or [_answering(sight, model, "")])),
        "servers_total": len(sight.ours),
    }


def of_server(sight: Sight, server: str, model: str, label: str) -> Json:
    """Say whether a server answers to all that it should serve, or to a model, or to a label.

    Raises:
        FieldInvalid: a label of no model.
        NotFound: no such server; the fleet does not serve this model, or it has no such label.
    """
    if server not in {one.name for one in sight.servers}:
        text = f"the fleet {sight.fleet.name} has no server {server}"
        raise NotFound(text, fleet=sight.fleet.name, server=server)
    if label and not model:
        raise FieldInvalid("label", "say of which model, too")
    targets = sight.targets_of(server)
    fault = "" if sight.of(server).reachable else "it does not answer"
    for one in [model] if model else sorted(targets):
        for name in _labels(sight, one, label, targets) or [""]:
            if not fault and not _answers(sight, server, one, name):
                fault = f"{one} does not answer to {name}" if name else f"{one} is not loaded"
    at = sight.last_seen.get(server)
    return {
        "ready": not fault,
        "sentence": fault or "serving",
        "last_seen_at": at.isoformat() if at else None,
    }


def _labels(sight: Sight, model: str, label: str, targets: Any) -> list[str]:
    """The labels that have to answer: the one that was named, else those that are there to stay."""
    if model not in targets:
        text = f"the fleet {sight.fleet.name} does not serve {model}"
        raise NotFound(text, fleet=sight.fleet.name, model=model)
    held = targets[model].labels
    if label and label not in held:
        raise NotFound(f"{model} has no label {label} in the fleet {sight.fleet.name}", label=label)
    return [label] if label else sorted(set(held) & _before(sight, model, held))


def _before(sight: Sight, model: str, held: Iterable[str]) -> set[str]:
    """A label that a live rollout brings is not missed before it is there."""
    for rollout, before, _ in sight.journeys:
        deployment = before.get(model) if model in rollout.models else None
        if deployment is not None:
            return set(deployment.labels)
    return set(held)


def _answering(sight: Sight, model: str, label: str) -> list[str]:
    return [one.name for one in sight.ours if _answers(sight, one.name, model, label)]


def _answers(sight: Sight, server: str, model: str, label: str) -> bool:
    """Whether a label points to a version that is loaded, or without one, any version is."""
    seen = sight.of(server)
    if not seen.reachable:
        return False
    if not label:
        return any(seen.available(model, number) for number in seen.models.get(model, {}))
    version = sight.labels(server, model).get(label)
    return version is not None and seen.available(model, version)
