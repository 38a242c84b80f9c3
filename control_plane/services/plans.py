"""What a dry run foretells of every server: the exact reloads, in order, and what they cost.

Everything comes from one read of the database: what should be, and what was last observed. Nothing
is asked of servers or storage.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import unified_diff
from typing import Literal

from control_plane.domain import signature
from control_plane.domain.action import Blocked, Converged, Wait
from control_plane.domain.assigned import Course, Elsewhere, owner_label
from control_plane.domain.catalog import Version
from control_plane.domain.fleet import Fleet, Server
from control_plane.domain.ideal import Pairs
from control_plane.domain.observed import Observed, Presence
from control_plane.domain.preview import PlannedReload, Preview, Sent, Stage, previews, stages
from control_plane.domain.record import from_json
from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Rollout
from control_plane.domain.room import needed_bytes
from control_plane.domain.steps import Journey
from control_plane.services.estimates import eta_s, load_times, words
from control_plane.services.transitions import around
from control_plane.serving.config import config_text
from control_plane.store import catalog, fleets
from control_plane.store.database import Session, installation

Seen = Literal["observed", "unreachable", "never"]
Known = Mapping[str, Mapping[int, Version]]  # the catalog, of models that move


@dataclass(frozen=True, slots=True)
class Asked:
    """The change whose consequences are asked for; `rollout` is the one that it would start."""

    fleet: Fleet
    head: Mapping[str, Deployment]
    journey: Journey
    others: tuple[Rollout, ...]  # live rollouts that go on beside it
    servers: tuple[str, ...]
    observed: Mapping[str, Observed] | None = None  # None: what was written last
    at: datetime | None = None  # when it was observed; None: now


@dataclass(frozen=True, slots=True)
class ReloadText:
    """A planned reload with its config as text proto, and what it changes of the one before."""

    planned: PlannedReload
    config: str
    diff: str


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What happens to one server."""

    server: str
    seen: Seen
    preview: Preview
    reloads: tuple[ReloadText, ...]
    peak_bytes: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class LabelVerdict:
    """What a label's callers would notice in the signatures."""

    model: str
    label: str
    before: int
    after: int
    verdict: str  # identical, compatible, breaking; unknown where signatures were never read
    text: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change would do to the servers of its fleet."""

    servers: tuple[ServerPlan, ...]
    signatures: tuple[LabelVerdict, ...]
    eta_s: float
    rollback: str | None  # "instant", "≈ 38 s load"; None: there is nowhere to go back to
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was read of the fleet's servers."""

    servers: Mapping[str, Server]
    observed: Mapping[str, Observed]
    owner: str


async def forecast(s: Session, asked: Asked) -> Forecast:
    """Foretell what a change would do, from what was last observed."""
    sight = await _look(s, asked)
    names = {*asked.head, *asked.journey[0].models}
    names |= {name for one in sight.observed.values() for name in one.models}
    course = Course(
        fleet=asked.fleet,
        head=asked.head,
        journey=asked.journey,
        others=tuple([(one, *await around(s, one)) for one in asked.others]),
        base_paths=await catalog.base_paths(s, names),
        servers=asked.servers,
    )
    known = await catalog.versions_of(s, asked.journey[0].models)
    sizes = await catalog.sizes(s, names)
    storage = _storage(asked, known) if asked.fleet.storage == "visible" else None
    given = _given(course, sight)
    told = previews(given, storage, sizes)
    plans = tuple(_told(sight, told, sizes))
    loads = frozenset(pair for one in told.values() for each in one.reloads for pair in each.loads)
    back = loads if asked.journey[0].kind is Kind.ROLLBACK else _left_behind(asked.journey)
    times = await load_times(s, asked.fleet.name, loads | (back or frozenset()), sizes, asked.at)
    return Forecast(
        servers=plans,
        signatures=tuple(_verdicts(asked.journey, known)),
        eta_s=eta_s(((told[name], given[name][0]) for name in told), times),
        rollback=None if back is None else words(back, times),
        warnings=tuple(_warnings(asked.fleet, plans)),
    )


def _left_behind(journey: Journey) -> Pairs | None:
    """The versions that the way back would have to load; None: no label moves, so there is none."""
    _, before, after = journey
    found: set[tuple[str, int]] = set()
    moved = False
    for model, old in before.items():
        new = after.get(model)
        for label, version in old.labels.items() if old else ():
            if new is None or new.labels.get(label) != version:
                moved = True
                found |= {(model, version)} if new is None or version not in new.versions else set()
    return frozenset(found) if moved else None


async def _look(s: Session, asked: Asked) -> _Sight:
    fleet = asked.fleet.name
    servers = {one.name: one for one in await fleets.servers(s, fleet)}
    observed = asked.observed
    if observed is None:
        written = await fleets.observations(s, fleet)
        observed = {name: from_json(written[name]) for name in asked.servers if name in written}
    there = [name for name in asked.servers if name in servers]
    return _Sight(
        servers={name: servers[name] for name in there},
        observed={name: observed[name] for name in there if name in observed},
        owner=owner_label(await installation(s), fleet),
    )


def _storage(asked: Asked, known: Known) -> dict[str, Presence]:
    """What the catalog says of the artifacts; the loop looks at the files themselves."""
    _, _, after = asked.journey
    found: dict[str, Presence] = {}
    for model, target in after.items():
        wanted = target.versions if target else frozenset[int]()
        versions = known.get(model, {})
        faults = {v: versions[v].fault for v in wanted if v in versions and versions[v].fault}
        found[model] = Presence(True, wanted - faults.keys(), faults, frozenset(faults))
    return found


def _given(course: Course, sight: _Sight) -> dict[str, tuple[tuple[Stage, ...], Observed]]:
    """Each server's part of the course; servers that are given the same share it."""
    goals = course.goals()
    shared: dict[object, tuple[Stage, ...]] = {}
    given = {}
    for name, server in sight.servers.items():
        elsewhere = _elsewhere(sight, name)
        steps = [one for goal in goals for rollout, _, _ in goal.live for one in rollout.steps]
        covered = tuple(name in one.servers for one in steps)
        taken_over = (server.taken_over, server.taken_over_at)
        key = (server.flags, taken_over, covered, tuple(sorted(elsewhere.items())))
        if key not in shared:
            shared[key] = stages(goals, server, elsewhere, sight.owner)
        given[name] = (shared[key], sight.observed.get(name, Observed()))
    return given


def _elsewhere(sight: _Sight, server: str) -> Elsewhere:
    """What is AVAILABLE on other servers, of the models that this one failed to load."""
    failed = sight.observed[server].failures if server in sight.observed else {}
    others = [one for name, one in sight.observed.items() if name != server]
    return {
        model: frozenset(
            v for one in others for v in one.models.get(model, {}) if one.available(model, v)
        )
        for model in failed
    }


def _told(
    sight: _Sight, told: Mapping[str, Preview], sizes: Mapping[tuple[str, int], int]
) -> Iterator[ServerPlan]:
    texts: dict[int, tuple[ReloadText, ...]] = {}
    for name, preview in told.items():
        if id(preview) not in texts:
            texts[id(preview)] = tuple(_texts(preview, sight.owner))
        seen = sight.observed.get(name)
        yield ServerPlan(
            server=name,
            seen="never" if seen is None else "observed" if seen.reachable else "unreachable",
            preview=preview,
            reloads=texts[id(preview)],
            peak_bytes=needed_bytes(preview.peak, sizes),
            memory_bytes=sight.servers[name].memory_bytes,
        )


def _texts(preview: Preview, owner: str) -> Iterator[ReloadText]:
    last: tuple[Sent | None, str] = (None, "")
    for one in preview.reloads:
        before = last[1] if one.before == last[0] else _text(one.before, owner)
        text = _text(one.config, owner)
        yield ReloadText(one, text, _diff(before, text))
        last = (one.config, text)


def _text(sent: Sent | None, owner: str) -> str:
    return config_text(sent.config, sent.marker, owner) if sent else ""


def _diff(before: str, after: str) -> str:
    lines = unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)


def _verdicts(journey: Journey, known: Known) -> Iterator[LabelVerdict]:
    _, before, after = journey
    for model, target in sorted(after.items()):
        old = before.get(model)
        for label, version in sorted(target.labels.items() if target else ()):
            was = old.labels.get(label) if old else None
            if was is not None and was != version:
                yield _verdict(LabelVerdict(model, label, was, version, "unknown", ""), known)


def _verdict(asked: LabelVerdict, known: Known) -> LabelVerdict:
    some = known.get(asked.model, {})
    old, new = some.get(asked.before), some.get(asked.after)
    if old is None or new is None or not old.signatures or not new.signatures:
        return replace(asked, text="the signatures of one of the versions are not known")
    found = signature.diff(signature.from_json(old.signatures), signature.from_json(new.signatures))
    return replace(asked, verdict=found.verdict, text=found.text)


def _warnings(fleet: Fleet, plans: Iterable[ServerPlan]) -> Iterator[str]:
    if fleet.storage == "opaque":
        yield "storage cannot be seen: versions go out one at a time, and unchecked"
    told: dict[str, list[str]] = {}
    for plan in plans:
        for text in _doubts(plan):
            told.setdefault(text, []).append(plan.server)
    for text, names in told.items():
        yield f"{', '.join(names)}: {text}"


def _doubts(plan: ServerPlan) -> Iterator[str]:
    match plan.seen:
        case "never":
            yield "never looked at; planned as if nothing were loaded there"
        case "unreachable":
            yield "does not answer; planned from what was last observed"
        case "observed":
            pass
    match plan.preview.end:
        case Blocked(cause, why):
            yield f"stops there, blocked ({cause}): {why}"
        case Wait(why):
            yield f"stops there: {why}"
        case Converged():
            pass
    if plan.memory_bytes is not None and plan.peak_bytes > plan.memory_bytes:
        peak, there = plan.peak_bytes / 1e9, plan.memory_bytes / 1e9
        yield f"needs about {peak:.1f} GB at its peak, and has {there:.1f} GB"
