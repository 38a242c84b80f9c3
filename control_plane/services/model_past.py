"""The past of a model in a fleet: what changed, when it could answer, how long loads took."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from control_plane.domain.availability import Present, Share, loads, shares
from control_plane.domain.events import Event, EventKind
from control_plane.domain.revision import Deployment, Revision
from control_plane.domain.rollout import Rollout
from control_plane.services.sight import Sight
from control_plane.store import journal, revisions, rollouts
from control_plane.store.database import Page, Session

Json = dict[str, Any]
DAY: Final = timedelta(hours=24)
_LOOKED_AT: Final = 100  # revisions in which a label's last move is looked for
_SHOWN: Final = 12  # changes
_NEWEST: Final = 50_000  # events that are looked at
_TRANSITIONS: Final = 1_000
_STATUSES: Final = 200
_LOADS: Final = 300


@dataclass(frozen=True, slots=True)
class Past:
    """What was written and recorded of a model."""

    revisions: Sequence[Revision]  # that touch it, the newest first
    more: bool  # there are older ones
    rollouts: Mapping[int, Rollout]  # by the revision that they lead to
    transitions: Sequence[Event]  # of its versions, in order
    statuses: Sequence[Event]  # of the fleet's servers, in order


async def past(s: Session, fleet: str, model: str) -> Past:
    """Read what was written and recorded of a model lately."""
    found = await revisions.revisions(s, fleet, Page(_LOOKED_AT), model)
    led = (await rollouts.rollouts(s, Page(_LOOKED_AT), fleet=fleet, model=model)).items
    after = max(await journal.last_seq(s) - _NEWEST, 0)
    states, said = EventKind.VERSION_STATE_CHANGED, EventKind.SERVER_STATUS_CHANGED
    return Past(
        revisions=found.items,
        more=bool(found.next),
        rollouts={one.to_revision: one for one in led},
        transitions=await journal.newest_of_each(
            s, fleet, (model,), states, after=after, most=_TRANSITIONS
        ),
        statuses=await journal.newest_of_each(s, fleet, ("",), said, after=after, most=_STATUSES),
    )


def moved_by(told: Past, model: str, label: str) -> Json:
    """Who moved a label where it is, when and why; all null if that is too long ago."""
    wanted = _labels(told.revisions, 0, model).get(label)
    for at, one in enumerate(told.revisions):
        older = _labels(told.revisions, at + 1, model)
        last = at + 1 == len(told.revisions)
        if older.get(label) != wanted and not (last and told.more):
            return {
                "since": one.created_at.isoformat(),
                "by": one.actor,
                "reason": one.reason,
                "kind": str(one.kind),
                "revision": one.number,
            }
    return dict.fromkeys(("since", "by", "reason", "kind", "revision"))


def _labels(told: Sequence[Revision], at: int, model: str) -> Mapping[str, int]:
    one = _deployment(told, at, model)
    return one.labels if one is not None else {}


def _deployment(told: Sequence[Revision], at: int, model: str) -> Deployment | None:
    return told[at].changes[model] if at < len(told) else None


def changes(told: Past, model: str) -> list[Json]:
    """Return the newest changes of what should be served, each with what it changed."""
    return [_change(told, at, one, model) for at, one in enumerate(told.revisions[:_SHOWN])]


def _change(told: Past, at: int, one: Revision, model: str) -> Json:
    after, before = one.changes[model], _deployment(told.revisions, at + 1, model)
    rollout = told.rollouts.get(one.number)
    new, old = _wanted(after), _wanted(before)
    return {
        "revision": one.number,
        "at": one.created_at.isoformat(),
        "kind": str(one.kind),
        "by": one.actor,
        "reason": one.reason,
        "rollout": rollout.id if rollout else None,
        "phase": str(rollout.phase) if rollout else None,
        "labels": {
            label: {"before": old[1].get(label), "after": new[1].get(label)}
            for label in sorted({*old[1], *new[1]})
            if old[1].get(label) != new[1].get(label)
        },
        "added": sorted(new[0] - old[0]),
        "dropped": sorted(old[0] - new[0]),
    }


def _wanted(one: Deployment | None) -> tuple[frozenset[int], Mapping[str, int]]:
    return (one.versions, one.labels) if one is not None else (frozenset(), {})


def availability(told: Past, sight: Sight, model: str, now: datetime) -> Json:
    """Return on how many servers each version was available in the last 24 hours."""
    since = now - DAY
    cut = len(told.transitions) == _TRANSITIONS or len(told.statuses) == _STATUSES
    if cut:
        firsts = [some[0].at for some in (told.transitions, told.statuses) if some]
        since = max(since, *firsts)
    events = sorted((*told.transitions, *told.statuses), key=lambda one: one.seq)
    found = shares(events, _present(sight, model), since, now)
    return {
        "since": since.isoformat(),
        "until": now.isoformat(),
        "servers": len(sight.ours),
        "versions": [
            {"version": version, "shares": [_share_json(one) for one in some]}
            for version, some in sorted(found.items(), reverse=True)
            if any(any(one.counts) for one in some)
        ],
    }


def _present(sight: Sight, model: str) -> Present:
    ours = [one.name for one in sight.ours]
    states = {
        (name, number): "FAILED" if one.failed else one.state.name
        for name in ours
        for number, one in sight.of(name).models.get(model, {}).items()
    }
    return Present(ours, states, [name for name in ours if not sight.of(name).reachable])


def _share_json(one: Share) -> Json:
    return {
        "since": one.since.isoformat(),
        "until": one.until.isoformat(),
        "available": one.available,
        "moving": one.moving,
        "failed": one.failed,
    }


def load_times(told: Past) -> list[Json]:
    """Return the newest loads that were seen from beginning to end, in order."""
    return [
        {
            "at": one.at.isoformat(),
            "server": one.server,
            "version": one.version,
            "seconds": one.seconds,
        }
        for one in loads(told.transitions)[-_LOADS:]
    ]


def loaded_in(times: Iterable[Json]) -> Mapping[int, float]:
    """Return by version how long its newest load took, in seconds."""
    return {one["version"]: one["seconds"] for one in times}
