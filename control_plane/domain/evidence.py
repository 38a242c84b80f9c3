"""What a look proves: the one place where observations become knowledge about a server.

A config is ours only while its marker answers; an intent ends as applied, refused or void, and a
restart is proven only by a status entry that is gone.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from control_plane.domain.drift import flipped
from control_plane.domain.observed import (
    Failure,
    Instant,
    Intent,
    Look,
    Observed,
    Refusal,
    Verified,
    VersionSeen,
)
from control_plane.domain.quarantine import after_end, after_void, cleared, unmoved
from control_plane.domain.state import Config, Dangling, LabelAnswer, Marker, Resolved, State

GHOSTS_KEPT = 4  # at most two run at a time; the rest only explain a late config
EXHAUSTED_S = 60.0  # news of it is worth writing down so often
REFUSING = frozenset({"FAILED_PRECONDITION", "INVALID_ARGUMENT"})
RETURNED = frozenset({"OK", "UNKNOWN"})
_NAMED = re.compile(r"model(?: name is)? (\S+?)[.,]?$")


def learn(observed: Observed, look: Look, settle_s: float) -> Observed:
    """Add a look to what is known; of an unreachable server nothing else is concluded."""
    if look.exhausted and look.at > observed.exhausted_at + EXHAUSTED_S:
        observed = replace(observed, exhausted_at=look.at)
    if not look.reachable:
        since = observed.unreachable_since if not observed.reachable else look.at
        closed = observed.closed or look.closed
        return replace(observed, reachable=False, unreachable_since=since or look.at, closed=closed)
    if _restarted(observed, look) or _reopened(observed, look):
        observed = _forget(observed, look.at, settle_s)
    if _revived(observed, look):
        observed = _lose(observed, look.at, foreign=True)
    known = replace(observed, reachable=True, unreachable_since=0.0, closed=False, at=look.at)
    known = _see_labels(_see_statuses(known, look, settle_s), look)
    if look.full:
        known = replace(known, looked_at=look.at)
    return _see_owner(_end_intent(_see_marker(known, look), look, settle_s), look)


def _restarted(observed: Observed, look: Look) -> bool:
    return any(
        version not in versions
        for name, versions in look.statuses.items()
        for version in observed.models.get(name, {})
    )


def _reopened(observed: Observed, look: Look) -> bool:
    """Whether the port was closed and our markers are gone: a new process, whatever it has loaded.

    A process that booted with all that the last one had shows no status that is gone.
    """
    ours = any(isinstance(one, Resolved | Dangling) for one in look.markers.values())
    return observed.closed and observed.verified is not None and not ours


def _revived(observed: Observed, look: Look) -> bool:
    """Where no marker can tell: a version that our config lacks comes up though it was gone."""
    if observed.verified is None or observed.verified.marker is not None:
        return False
    models = observed.verified.config.models
    return any(
        status.state in (State.START, State.LOADING, State.AVAILABLE)
        and (name not in models or version not in models[name].versions)
        and ((old := observed.models[name].get(version)) is None or old.state is State.END)
        for name, versions in look.statuses.items()
        if name in observed.models
        for version, status in versions.items()
    )


def _lose(observed: Observed, at: Instant, *, foreign: bool) -> Observed:
    """The config that we verified does not run any more; look at everything again."""
    return replace(
        observed,
        verified=None,
        proven=_proven(observed),
        marker_gone=False,
        foreign=observed.foreign or foreign,
        flips=flipped(observed, at) if foreign else observed.flips,
        quiet_since=at,
        looked_at=0.0,
    )


def _forget(observed: Observed, at: Instant, settle_s: float) -> Observed:
    """A new process: nothing that we saw or waited for is true any more.

    An open intent is void, but it may have met the new process already: its digest would tell.
    """
    ghosts = (observed.intent,) if observed.intent else ()
    return Observed(
        proven=_proven(observed),
        ghosts=ghosts,
        cleared_at=at,
        restarted_at=at,
        quiet_since=at,
        suspects=after_end(observed, at, settle_s),
    )


def _proven(observed: Observed) -> Mapping[str, Mapping[str, int]]:
    if observed.verified is None:
        return observed.proven
    proven = {name: dict(labels) for name, labels in observed.proven.items()}
    for name, model in observed.verified.config.models.items():
        proven[name] = proven.get(name, {}) | dict(model.labels)
    return proven


def _see_statuses(observed: Observed, look: Look, settle_s: float) -> Observed:
    if not look.statuses and not look.able:
        return observed
    models, failures = dict(observed.models), dict(observed.failures)
    for name, statuses in look.statuses.items():
        old, fresh = models.get(name, {}), {}
        for version, status in statuses.items():
            same = old.get(version)
            now = VersionSeen(status.state, look.at, status.error_code, status.error)
            if same and (same.state, same.error) == (now.state, now.error):
                now = same
            if now.failed and _failed_anew(observed, look.at - settle_s, name, version, now):
                count = failures.get(name, {}).get(version, Failure(0, 0.0)).count
                failures[name] = {**failures.get(name, {}), version: Failure(count + 1, look.at)}
            served = now.state is State.AVAILABLE or (same is not None and same.served)
            fresh[version] = now if now.served is served else replace(now, served=served)
        models[name] = fresh
    for name, answers in look.able.items():
        models[name] = {
            version: replace(one, able=answers.get(version, one.able))
            for version, one in models.get(name, {}).items()
        }
    changed = _moved(observed, {name: models[name] for name in look.statuses})
    quiet = look.at if changed else observed.quiet_since
    known = replace(observed, models=models, failures=failures, quiet_since=quiet)
    return replace(known, suspects=cleared(known)) if known.suspects else known


def _failed_anew(
    observed: Observed, settled_at: Instant, name: str, version: int, now: VersionSeen
) -> bool:
    """Whether this END is a failure not counted yet: a new one, or the same text after an add."""
    counted = observed.failures.get(name, {}).get(version, Failure(0, 0.0))
    added = observed.added.get(name, {}).get(version, 0.0)
    return now.since > counted.at or counted.at < added <= settled_at


def _moved(observed: Observed, models: Mapping[str, Mapping[int, VersionSeen]]) -> bool:
    def gist(of: Mapping[int, VersionSeen]) -> dict[int, tuple[State, Instant]]:
        return {version: (one.state, one.since) for version, one in of.items()}

    return any(
        gist(versions) != gist(observed.models.get(name, {})) for name, versions in models.items()
    )


def _see_labels(observed: Observed, look: Look) -> Observed:
    if not look.labels:
        return observed
    labels = dict(observed.labels)
    for name, answers in look.labels.items():
        labels[name] = {
            label: answer.version
            for label, answer in answers.items()
            if isinstance(answer, Resolved | Dangling)
        }
    if labels == observed.labels:
        return observed
    same = all(labels[name] == observed.labels.get(name, {}) for name in look.labels)
    quiet = observed.quiet_since if same else look.at
    return replace(observed, labels=labels, quiet_since=quiet)


def _answer(look: Look, marker: Marker | None, config: Config) -> LabelAnswer | None:
    return look.markers.get((marker.model, config.digest_label)) if marker else None


def _untold(intent: Intent | None, look: Look) -> bool:
    """Whether the question for an intent's marker got lost: then nobody knows whose config runs."""
    if intent is None or intent.marker is None:
        return False
    return _answer(look, intent.marker, intent.config) is None


def _see_marker(observed: Observed, look: Look) -> Observed:
    """Keep, doubt or lose the running config by its marker and, in a full look, its labels."""
    verified = observed.verified
    if verified is None:
        return observed
    answer = _answer(look, verified.marker, verified.config)
    if isinstance(answer, Dangling):
        marker = verified.marker
        gone = marker is not None and not observed.available(marker.model, answer.version)
        return observed.but(marker_gone=gone)
    ours = answer is None or (
        isinstance(answer, Resolved)
        and verified.marker is not None
        and answer.version == verified.marker.version
    )
    if ours and not _label_moved(verified.config, look):
        return observed.but(marker_gone=observed.marker_gone and answer is None)
    if _untold(observed.intent, look):
        return observed
    applied = observed.intent and _answer(look, observed.intent.marker, observed.intent.config)
    if isinstance(applied, Resolved | Dangling):  # our own push: nothing else is in doubt
        return replace(_lose(observed, look.at, foreign=False), looked_at=observed.looked_at)
    return _lose(observed, look.at, foreign=True)


def _label_moved(config: Config, look: Look) -> bool:
    """Whether a label answers otherwise than our config says, though the marker is there."""
    for name, answers in look.labels.items():
        labels = config.models[name].labels if name in config.models else {}
        for label, answer in answers.items():
            target = answer.version if isinstance(answer, Resolved | Dangling) else None
            if target != labels.get(label):
                return True
    return False


def _end_intent(observed: Observed, look: Look, settle_s: float) -> Observed:
    intent = observed.intent
    if intent is None:
        return _haunted(observed, look)
    if intent.answer is None:
        return observed
    if intent.answer.not_started:
        return replace(observed, intent=None)
    if intent.answer.code in REFUSING:
        return _refused(replace(observed, cleared_at=intent.sent_at), intent)
    seen = isinstance(_answer(look, intent.marker, intent.config), Resolved | Dangling)
    moved = has_moved(observed, intent)
    if intent.answer.code in RETURNED:
        return _returned(observed, intent, look, seen=seen)
    if moved and (seen or (intent.marker is None and intent.names_added)):
        return verify(observed, intent, look.at)
    return _still_lost(observed, look, settle_s, seen=seen)


def _returned(observed: Observed, intent: Intent, look: Look, *, seen: bool) -> Observed:
    """The call came back: with a marker that decides, without one the new names being listed."""
    if _untold(intent, look) or (intent.marker is None and not look.full):
        return replace(observed, looked_at=0.0)
    listed = all(observed.models.get(name) for name in intent.names_added)
    if seen or (intent.marker is None and listed):
        return verify(observed, intent, look.at)
    ended = replace(observed, intent=None, cleared_at=intent.sent_at)
    return _lose(ended, look.at, foreign=True)


def has_moved(observed: Observed, intent: Intent) -> bool:
    """Whether every new name shows one of its wanted versions changed since it was sent."""
    return not unmoved(observed, intent)


def _still_lost(observed: Observed, look: Look, settle_s: float, *, seen: bool) -> Observed:
    """End the intent when `settle_s` after the server answers again its marker does not show.

    New names that moved say that it was applied, and that another config has replaced it since;
    else it is void, and haunts us until we know that its call does not run any more.
    """
    intent = observed.intent
    if intent is None:
        return observed
    reached = intent.reached_at or look.at
    if seen or look.at < reached + settle_s:
        return replace(observed, intent=replace(intent, reached_at=reached))
    if intent.names_added and has_moved(observed, intent):
        return _lose(replace(observed, intent=None), look.at, foreign=True)
    ghosts = (*observed.ghosts, intent)[-GHOSTS_KEPT:]
    suspects = after_void(observed, intent, look.at)
    return replace(observed, intent=None, ghosts=ghosts, looked_at=0.0, suspects=suspects)


def _haunted(observed: Observed, look: Look) -> Observed:
    """Own a void intent that the server applied after all."""
    for ghost in reversed(observed.ghosts):
        current = observed.verified and observed.verified.config.digest == ghost.config.digest
        seen = isinstance(_answer(look, ghost.marker, ghost.config), Resolved | Dangling)
        if seen and not current:
            others = tuple(one for one in observed.ghosts if one is not ghost)
            return verify(replace(observed, ghosts=others), ghost, look.at)
    return observed


def _refused(observed: Observed, intent: Intent) -> Observed:
    answer, digest = intent.answer, intent.config.digest
    text = answer.message if answer else ""
    last = observed.refusal
    count = last.count + 1 if last and last.digest == digest else 1
    at = intent.answered_at
    named = _NAMED.search(text)
    alien = named is not None and named.group(1) not in intent.config.models
    wedged = text if answer and answer.code == "INVALID_ARGUMENT" and alien else observed.wedged
    refusal = Refusal(digest, text, count, at)
    return replace(observed, intent=None, refusal=refusal, wedged=wedged, looked_at=0.0)


def verify(observed: Observed, intent: Intent, at: Instant) -> Observed:
    """The intent was applied: it is the running config, and what it omits was dropped now.

    A marker that answers proves the labels beside it: the server takes its whole map or nothing.
    """
    dropped = {name: dict(times) for name, times in observed.dropped.items()}
    for name, versions in observed.models.items():
        kept = intent.config.models[name].versions if name in intent.config.models else frozenset()
        times = dropped.setdefault(name, {})
        for version, seen in versions.items():
            if version in kept:
                times.pop(version, None)
            else:
                times.setdefault(version, _left_at(seen, intent, at))
    ours = intent.config.models if intent.marker else {}
    labels = {**observed.labels, **{name: dict(one.labels) for name, one in ours.items()}}
    known = replace(
        observed,
        labels=labels,
        quiet_since=observed.quiet_since if labels == observed.labels else at,
        verified=Verified(intent.config, intent.marker, at),
        intent=None,
        dropped=dropped,
        foreign=False,
        not_adopted="",
        marker_gone=False,
        other_writer_since=0.0,
        refusal=None,
    )
    returned = intent.answer is not None and intent.answer.code in RETURNED
    cleared = intent.sent_at if returned else observed.cleared_at
    return replace(known, proven=_proven(known), cleared_at=cleared)


def _left_at(seen: VersionSeen, intent: Intent, at: Instant) -> Instant:
    """When a version that the intent omits was dropped: before it, if its unload ended before."""
    unloaded = seen.state is State.END and not seen.failed
    return seen.since if unloaded and seen.since < intent.sent_at else at


def _see_owner(observed: Observed, look: Look) -> Observed:
    """Our owner marker beside a digest that is not ours: another writer, or an old database."""
    if observed.verified:
        return observed.but(other_writer_since=0.0)
    if observed.intent or not look.full:
        return observed
    owned = any(
        isinstance(answer, Resolved | Dangling)
        for (_, label), answer in look.markers.items()
        if label.startswith("_cp_owner_")
    )
    since = observed.other_writer_since or look.at
    return replace(observed, other_writer_since=since if owned else 0.0)


def sent(
    observed: Observed,
    intent: Intent,
    held: Mapping[str, frozenset[int]],
    wanted: Mapping[str, frozenset[int]],
) -> Observed:
    """Note that the intent goes out now.

    Args:
        observed: what is known.
        intent: what was committed to be sent.
        held: the versions that the server's config held before, by model.
        wanted: the versions that are wanted; failures and suspicions of all others are forgiven,
            so that a version that a person took out and asks for again gets all its tries.
    """
    added = {name: dict(times) for name, times in observed.added.items()}
    for name, model in intent.config.models.items():
        for version in model.versions - held.get(name, frozenset()):
            added.setdefault(name, {})[version] = intent.sent_at
    failures = {
        name: {v: one for v, one in some.items() if v in wanted.get(name, frozenset())}
        for name, some in observed.failures.items()
    }
    suspects = {
        name: {v: one for v, one in some.items() if v in wanted.get(name, frozenset())}
        for name, some in observed.suspects.items()
    }
    return replace(observed, intent=intent, added=added, failures=failures, suspects=suspects)


def answered(observed: Observed, intent: Intent) -> Observed:
    """Note the answer of the call that carried the intent, unless the intent is over already."""
    current = observed.intent
    if current is None or current.sent_at != intent.sent_at:
        return observed
    return replace(observed, intent=intent)
