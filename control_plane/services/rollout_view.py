"""Rollouts and revisions, as the API shows them."""

from datetime import datetime
from typing import Any

from control_plane.domain.revision import Deployment, Revision
from control_plane.domain.rollout import Rollout, Step


def rollout_json(rollout: Rollout) -> dict[str, Any]:
    """A rollout; `model` names the only one it has, "" in a group."""
    return {
        "id": rollout.id,
        "fleet": rollout.fleet,
        "model": rollout.models[0] if len(rollout.models) == 1 else "",
        "models": list(rollout.models),
        "kind": str(rollout.kind),
        "label": rollout.label,
        "strategy": {"name": rollout.strategy, "number": rollout.strategy_number},
        "from_revision": rollout.from_revision,
        "to_revision": rollout.to_revision,
        "phase": str(rollout.phase),
        "live": rollout.phase.live,
        "sentence": rollout.sentence,
        "steps": [_step_json(one) for one in rollout.steps],
        "laggards": list(rollout.laggards),
        "error": rollout.error,
        "actor": rollout.actor,
        "reason": rollout.reason,
        "superseded_by": rollout.superseded_by,
        "created_at": rollout.created_at.isoformat(),
        "deadline_at": rollout.deadline_at.isoformat(),
        "ended_at": _when(rollout.ended_at),
    }


def revision_json(revision: Revision) -> dict[str, Any]:
    """A revision with the deployments that it changes; null where it removes one."""
    return {
        "fleet": revision.fleet,
        "revision": revision.number,
        "parent": revision.parent,
        "kind": str(revision.kind),
        "actor": revision.actor,
        "reason": revision.reason,
        "created_at": revision.created_at.isoformat(),
        "changes": {
            model: desired_json(one) if one is not None else None
            for model, one in sorted(revision.changes.items())
        },
    }


def desired_json(deployment: Deployment) -> dict[str, Any]:
    """What a deployment asks for."""
    return {
        "versions": sorted(deployment.versions),
        "labels": dict(sorted(deployment.labels.items())),
        "keep_previous": deployment.keep_previous,
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "name": str(step.name),
        "phase": str(step.phase),
        "servers": list(step.servers),
        "started_at": _when(step.started_at),
        "ended_at": _when(step.ended_at),
        "spec": dict(step.spec),
        "evidence": dict(step.evidence),
    }


def _when(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
