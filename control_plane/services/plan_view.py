"""A dry run's plan, as the API shows it; its hash names what would be done, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from control_plane.domain.action import Blocked, Converged, Wait
from control_plane.services.changes import Plan, Planned
from control_plane.services.plans import Forecast, LabelVerdict, ReloadText, ServerPlan
from control_plane.services.rollout_view import desired_json

Json = dict[str, Any]


def plan_json(planned: Planned) -> Json:
    """A plan; times, sizes and warnings are no part of its hash."""
    plan, forecast = planned.plan, planned.forecast
    change = _change_json(plan)
    signatures = [_verdict_json(one) for one in forecast.signatures]
    reloads = [_reload_json(one, text) for one in forecast.servers for text in one.reloads]
    return {
        **change,
        "unlabelled": {
            model: {"before": before, "during": during, "after": after}
            for model, (before, during, after) in sorted(plan.unlabelled.items())
        },
        "signatures": signatures,
        "reloads": reloads,
        "ends": [_end_json(one) for one in forecast.servers],
        "memory": {one.server: _memory_json(one) for one in forecast.servers},
        "eta_s": forecast.eta_s,
        "rollback": forecast.rollback,
        "warnings": [*plan.warnings, *forecast.warnings],
        "plan_hash": _hash(change, forecast),
    }


def _change_json(plan: Plan) -> Json:
    return {
        "fleet": plan.fleet,
        "kind": str(plan.kind),
        "from_revision": plan.from_revision,
        "to_revision": plan.to_revision,
        "before": {model: one and desired_json(one) for model, one in sorted(plan.before.items())},
        "after": {model: one and desired_json(one) for model, one in sorted(plan.after.items())},
        "strategy": {"name": plan.strategy.name, "number": plan.strategy.number},
        "steps": [str(one.name) for one in plan.steps],
        "specs": [dict(one.spec) for one in plan.steps],
        "servers": list(plan.servers),
        "supersedes": list(plan.supersedes),
    }


def _hash(change: Mapping[str, Any], forecast: Forecast) -> str:
    told = [
        change,
        [[one.model, one.label, one.verdict] for one in forecast.signatures],
        [
            [one.server, each.planned.step, each.config]
            for one in forecast.servers
            for each in one.reloads
        ],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _verdict_json(one: LabelVerdict) -> Json:
    return {
        "model": one.model,
        "label": one.label,
        "before": one.before,
        "after": one.after,
        "verdict": one.verdict,
        "text": one.text,
    }


def _reload_json(plan: ServerPlan, one: ReloadText) -> Json:
    planned = one.planned
    callers = planned.unlabelled.items()
    return {
        "server": plan.server,
        "step": planned.step,
        "why": planned.why,
        "waits_for": list(planned.waits_for),
        "names_added": list(planned.names_added),
        "loads": [{"model": model, "version": v} for model, v in sorted(planned.loads)],
        "warm": planned.warm,
        "lock_s": planned.lock_s,
        "unlabelled_before": {model: before for model, (before, _) in callers},
        "unlabelled_after": {model: after for model, (_, after) in callers},
        "diff": one.diff,
        "digest": planned.config.config.digest,
        "config": one.config,
    }


def _end_json(plan: ServerPlan) -> Json:
    """How a server's part ends, and what it was planned from."""
    told: Json = {"server": plan.server, "seen": plan.seen, "waits_for": []}
    told["waits_for"] = list(plan.preview.waits_for)
    match plan.preview.end:
        case Converged():
            return told | {"end": "converged", "cause": None, "why": ""}
        case Blocked(cause, why):
            return told | {"end": "blocked", "cause": str(cause), "why": why}
        case Wait(why):
            return told | {"end": "waiting", "cause": None, "why": why}


def _memory_json(plan: ServerPlan) -> Json:
    known = plan.memory_bytes is not None
    return {
        "peak_bytes": plan.peak_bytes,
        "memory_bytes": plan.memory_bytes,
        "fits": plan.peak_bytes <= (plan.memory_bytes or 0) if known else None,
    }
