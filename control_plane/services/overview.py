"""Is everything fine? One look at all fleets: states of models, what needs somebody, what changed.

Nothing is called healthy that nobody looks at: without a leader, a fleet's models are `unknown`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from control_plane.domain.rollout import Phase, Rollout, Step, StepName
from control_plane.domain.steps import ends_at
from control_plane.services.attention import Watched, attention, waits_for_somebody
from control_plane.services.rollout_view import rollout_json
from control_plane.services.sight import look
from control_plane.services.views import deployment_json, server_status, serves
from control_plane.store import fleets, leases, plans, rollouts
from control_plane.store.database import Database, Page, Session

Json = dict[str, Any]
STATES: Final = ("healthy", "rolling", "waiting", "degraded", "drifted", "unknown")
DAY: Final = timedelta(hours=24)
MOST_CHANGES: Final = 200
_WORST_FIRST: Final = ("unknown", "degraded", "drifted", "waiting", "rolling")


async def overview(db: Database, now: datetime) -> Json:
    """Return how everything stands, and the changes of the last 24 hours, the newest first."""
    async with db.read() as s:
        seen = [
            Watched(await look(s, one.name), await leases.holder(s, one.name) is not None)
            for one in await fleets.all_fleets(s)
        ]
        changes = await _since(s, now - DAY)
        etas = await plans.live_etas(s)
    models = [model_row(one, name) for one in seen for name in sorted(one.sight.heads)]
    counts = Counter(one["state"] for one in models)
    return {
        "at": now.isoformat(),
        "verdict": {"state": _verdict(counts), **_extent(seen, models)},
        "counters": {state: counts[state] for state in STATES},
        "attention": attention(seen, changes),
        "rollouts": [
            _running(one, _eta_at(one, etas, now)) for each in seen for one in each.sight.live
        ],
        "changes": [_change(one) for one in changes[:MOST_CHANGES]],
        "changes_cut": len(changes) > MOST_CHANGES,
        "models": models,
        "fleets": [_fleet(one) for one in seen],
    }


async def _since(s: Session, start: datetime) -> list[Rollout]:
    """Return the rollouts begun since then, the newest first; one more than are shown at most."""
    found = (await rollouts.rollouts(s, Page(MOST_CHANGES + 1))).items
    return [one for one in found if one.created_at >= start]


def model_state(watched: Watched, model: str, phase: str) -> str:
    """Say in one word how a deployment in a phase of its own stands."""
    sight = watched.sight
    if rollout := sight.rollout_of(model):
        return "waiting" if waits_for_somebody(rollout) else "rolling"
    if not watched.led and sight.servers:
        return "unknown"
    if phase == "converged":
        return "healthy"
    failing = [one for one in sight.ours if not serves(sight, one.name, sight.heads[model])]
    drifted = any(server_status(sight, one)[0] == "drifted" for one in failing)
    return "drifted" if drifted else "degraded"


def model_row(watched: Watched, model: str) -> Json:
    """How a deployment stands, in one line."""
    shown = deployment_json(watched.sight, model)
    status, rollout = shown["status"], shown["rollout"]
    return {
        "fleet": shown["fleet"],
        "model": model,
        "state": model_state(watched, model, status["phase"]),
        "sentence": status["sentence"],
        "labels": status["labels"],
        "versions": shown["versions"],
        "unlabelled_version": shown["unlabelled_version"],
        "rollout": rollout["id"] if rollout else None,
        "updated_at": shown["updated_at"],
        "updated_by": shown["updated_by"],
    }


def _verdict(counts: Counter[str]) -> str:
    if not counts:
        return "empty"
    return next((state for state in _WORST_FIRST if counts[state]), "healthy")


def _extent(seen: Sequence[Watched], models: Sequence[Json]) -> Json:
    ours = [one.sight.ours for one in seen]
    return {
        "models": len(models),
        "fleets": len(seen),
        "servers": sum(map(len, ours)),
        "servers_answering": sum(map(_answering, seen)),
    }


def _answering(watched: Watched) -> int:
    sight = watched.sight
    return sum(sight.of(one.name).reachable for one in sight.ours) if watched.led else 0


def _fleet(watched: Watched) -> Json:
    sight = watched.sight
    return {
        "fleet": sight.fleet.name,
        "description": sight.fleet.description,
        "revision": sight.fleet.head,
        "led": watched.led,
        "models": len(sight.heads),
        "servers": [{"server": one.name, "status": watched.status(one)} for one in sight.servers],
    }


def _running(rollout: Rollout, eta_at: datetime | None) -> Json:
    return rollout_json(rollout) | {
        "waits_for_somebody": waits_for_somebody(rollout),
        "progress": _progress(rollout) | {"eta_at": eta_at.isoformat() if eta_at else None},
    }


def _eta_at(rollout: Rollout, etas: Mapping[str, float], now: datetime) -> datetime | None:
    """When a rollout is over by its plan; None where that rests with people, or is past."""
    people = any(one.name is StepName.APPROVE for one in rollout.steps)
    if people or waits_for_somebody(rollout) or rollout.id not in etas:
        return None
    at = rollout.created_at + timedelta(seconds=etas[rollout.id])
    return at if at > now else None


def _progress(rollout: Rollout) -> Json:
    """How far a rollout is: its step, and on how many of the step's servers that is reached."""
    done = sum(one.phase is Phase.SUCCEEDED for one in rollout.steps)
    step, end = rollout.step, ends_at(rollout)
    return {
        "steps_done": done,
        "steps": len(rollout.steps),
        "step": str(step.name) if step else None,
        "servers_reached": len(_reached(step)),
        "servers": len(step.servers) if step else 0,
        "ends_at": end.isoformat() if end else None,
    }


def _reached(step: Step | None) -> list[str]:
    if step is None:
        return []
    told: Iterable[tuple[str, Any]] = step.evidence.items()
    return [name for name, one in told if isinstance(one, dict) and one.get("reached")]


def _change(rollout: Rollout) -> Json:
    return {
        "at": rollout.created_at.isoformat(),
        "ended_at": rollout.ended_at.isoformat() if rollout.ended_at else None,
        "rollout": rollout.id,
        "fleet": rollout.fleet,
        "models": list(rollout.models),
        "kind": str(rollout.kind),
        "label": rollout.label,
        "phase": str(rollout.phase),
        "actor": rollout.actor,
        "reason": rollout.reason,
        "revision": rollout.to_revision,
    }
