"""The evidence of a rollout: one document that says who changed what and why, and what was seen.

It is put together from what was recorded while the rollout ran; nobody is asked anew. Its `plan` is
the one that was kept when the rollout began (see `kept_plans`): `made_at` says from which moment on
it foretells, `reloads_before` how many reloads had gone out by then, none unless another process
took the rollout up, and `agreed` whether somebody started it with the hash of this very plan. Null:
none was kept, as of rollouts that were over when they began. `sha256` is over all the rest as
canonical JSON: sorted keys, no spaces, UTF-8.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from control_plane.domain import signature
from control_plane.domain.events import Event, EventKind
from control_plane.domain.rollout import Rollout, StepName
from control_plane.domain.steps import State
from control_plane.services.history import event_json
from control_plane.services.hooks import run_json
from control_plane.services.rollout_view import desired_json, revision_json, rollout_json
from control_plane.services.transitions import around
from control_plane.store import catalog, hooks, journal, plans, revisions, rollouts
from control_plane.store.database import Database, Session

Json = dict[str, Any]
_SEEN: Final = (
    EventKind.SERVER_RELOADED,
    EventKind.SERVER_STATUS_CHANGED,
    EventKind.SERVER_DRIFTED,
    EventKind.VERSION_STATE_CHANGED,
    EventKind.LABEL_ANSWERED,
)
_SAID: Final = (
    EventKind.ROLLOUT_APPROVED,
    EventKind.ROLLOUT_REJECTED,
    EventKind.ROLLOUT_HURRIED,
    EventKind.ROLLOUT_PAUSED,
    EventKind.ROLLOUT_RESUMED,
)


async def evidence(db: Database, id_: str) -> Json:
    """Return the evidence of a rollout, so far while it is live.

    Raises:
        NotFound: no such rollout.
    """
    async with db.read() as s:
        rollout = await rollouts.rollout(s, id_)
        told = await journal.of_rollout(s, rollout.fleet, id_)
        seen = await _seen(s, rollout, told)
        before, after = await around(s, rollout)
        document = {
            "rollout": rollout_json(rollout),
            "complete": not rollout.phase.live,
            "revisions": {
                "before": await _revision(s, rollout, rollout.from_revision),
                "after": await _revision(s, rollout, rollout.to_revision),
            },
            "deployments": {"before": _state_json(before), "after": _state_json(after)},
            "signatures": await _signatures(s, rollout, before, after),
            "plan": await _plan(s, rollout, seen),
            "timings": _timings(rollout),
            "people": [_said_json(one) for one in told if one.kind in _SAID],
            "approvals": list(_approvals(rollout)),
            "gates": list(_gates(rollout)),
            "hooks": [run_json(one) for one in await hooks.runs_of(s, id_)],
            "reloads": list(_reloads(seen)),
            "servers": [_answer_json(one, rollout.created_at) for one in seen],
            "events": [event_json(one) for one in told],
        }
    return document | {"sha256": hash_of(document)}


def hash_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document without its own `sha256`."""
    rest = {name: value for name, value in document.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def _seen(s: Session, rollout: Rollout, told: tuple[Event, ...]) -> tuple[Event, ...]:
    """What happened on servers to the rollout's models while it was live."""
    if not told:
        return ()
    last = told[-1].seq if not rollout.phase.live else await journal.last_seq(s)
    between = (told[0].seq, last)
    found = await journal.of_fleet(s, rollout.fleet, _SEEN, rollout.models, between)
    models, servers = set(rollout.models), {n for one in rollout.steps for n in one.servers}
    return tuple(
        one
        for one in found
        if one.model or one.server in servers
        if one.kind is not EventKind.SERVER_RELOADED or models & set(one.data.get("models", ()))
    )


async def _revision(s: Session, rollout: Rollout, number: int) -> Json | None:
    return revision_json(await revisions.revision(s, rollout.fleet, number)) if number else None


def _state_json(state: State) -> Json:
    return {model: one and desired_json(one) for model, one in sorted(state.items())}


async def _signatures(s: Session, rollout: Rollout, before: State, after: State) -> list[Json]:
    """What callers of the labels that it moves would notice, as the catalog knows the versions."""
    found = []
    for model in rollout.models:
        old, new = before.get(model), after.get(model)
        if old is None or new is None:
            continue
        known = {one.number: one for one in await catalog.all_versions(s, model)}
        for label, version in sorted(new.labels.items()):
            was = old.labels.get(label, version)
            one, other = known.get(was), known.get(version)
            if was == version or not one or not other or not one.signatures or not other.signatures:
                continue
            verdict = signature.diff(
                signature.from_json(one.signatures), signature.from_json(other.signatures)
            )
            told = {"model": model, "label": label, "before": was, "after": version}
            found.append(told | {"verdict": verdict.verdict, "text": verdict.text})
    return found


async def _plan(s: Session, rollout: Rollout, seen: Iterable[Event]) -> Json | None:
    kept = await plans.plan_of(s, rollout.id)
    if kept is None:
        return None
    sent = (one for one in seen if one.kind is EventKind.SERVER_RELOADED)
    early = sum(one.at < kept.made_at for one in sent)
    made = {"made_at": kept.made_at.isoformat(), "reloads_before": early}
    return {**kept.document, **made}


def _timings(rollout: Rollout) -> Json:
    return {
        "took_s": _between(rollout.created_at, rollout.ended_at),
        "steps": [
            {"step": str(one.name), "took_s": _between(one.started_at, one.ended_at)}
            for one in rollout.steps
        ],
    }


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 6) if start and end else None


def _said_json(event: Event) -> Json:
    said = {"at": event.at.isoformat(), "actor": event.actor, "reason": event.reason}
    return said | {"said": str(event.kind), "data": dict(event.data)}


def _approvals(rollout: Rollout) -> Iterator[Json]:
    for number, step in enumerate(rollout.steps):
        if step.name is StepName.APPROVE:
            given = step.evidence.get("approvals", [])
            yield {"step": number, "spec": dict(step.spec), "given": list(given)}


def _gates(rollout: Rollout) -> Iterator[Json]:
    for number, step in enumerate(rollout.steps):
        if step.name is StepName.GATE:
            told = {"step": number, "kind": step.spec.get("kind"), "spec": dict(step.spec)}
            skipped = step.evidence.get("skipped")
            yield told | {"verdict": step.evidence.get("verdict"), "skipped": skipped}


def _reloads(seen: Iterable[Event]) -> Iterator[Json]:
    """What was sent to servers, and what they answered, in their own words."""
    for one in seen:
        if one.kind is EventKind.SERVER_RELOADED:
            told = {"seq": one.seq, "at": one.at.isoformat(), "server": one.server}
            yield told | dict(one.data)


def _answer_json(event: Event, since: datetime) -> Json:
    told = event_json(event)
    if event.kind is EventKind.SERVER_RELOADED:
        told["data"] = {k: v for k, v in event.data.items() if k != "diff"}
    return told | {"after_s": _between(since, event.at)}
