"""Whether callers can be sent somewhere: to a server, to a deployment, to this very process."""

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain.errors import FieldInvalid, NotFound
from control_plane.domain.fleet import Server
from control_plane.domain.steps import StepTarget
from control_plane.services.callers import away, behind
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
    """Say whether some server answers to a label, or to all labels if none is named.

    Raises:
        NotFound: the fleet does not serve this model, or it has no such label.
    """
    _check(sight, sight.targets, model, label)
    faults = {
        one.name: away(sight, one) or behind(sight, one.name, model, label) for one in _all(sight)
    }
    good = [name for name, fault in faults.items() if not fault]
    told = next((f"{name}: {fault}" for name, fault in faults.items()), "the fleet has no server")
    return {
        "ready": bool(good),
        "sentence": f"served by {len(good)} of {len(faults)} servers" if good else told,
        "servers_serving": len(good),
        "servers_total": len(faults),
    }


def of_server(sight: Sight, server: str, model: str, label: str) -> Json:
    """Say whether a server answers to all that it should serve, or to a model, or to a label.

    Raises:
        FieldInvalid: a label of no model.
        NotFound: no such server; the fleet does not serve this model, or it has no such label.
    """
    found = next((one for one in sight.servers if one.name == server), None)
    if found is None:
        text = f"the fleet {sight.fleet.name} has no server {server}"
        raise NotFound(text, fleet=sight.fleet.name, server=server)
    if label and not model:
        raise FieldInvalid("label", "say of which model, too")
    targets = sight.targets_of(server)
    if model:
        _check(sight, targets, model, label)
    faults = (behind(sight, server, one, label) for one in ([model] if model else sorted(targets)))
    fault = away(sight, found) or next((one for one in faults if one), "")
    at = sight.last_seen.get(server)
    return {
        "ready": not fault,
        "sentence": fault or "serving",
        "last_seen_at": at.isoformat() if at else None,
    }


def _all(sight: Sight) -> Sequence[Server]:
    return sorted(sight.ours, key=lambda one: one.name)


def _check(sight: Sight, targets: Mapping[str, StepTarget], model: str, label: str) -> None:
    fleet = sight.fleet.name
    if model not in targets:
        raise NotFound(f"the fleet {fleet} does not serve {model}", fleet=fleet, model=model)
    if label and label not in targets[model].labels:
        text = f"{model} has no label {label} in the fleet {fleet}"
        raise NotFound(text, fleet=fleet, model=model, label=label)
