"""What is known of a server as a JSON document, so that it outlives the process that learnt it.

`from_json(to_json(observed)) == observed`; what is empty is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from control_plane.domain.observed import (
    Failure,
    Flip,
    Intent,
    Observed,
    Refusal,
    Suspect,
    Verified,
    VersionSeen,
)
from control_plane.domain.state import (
    Ability,
    Able,
    Config,
    Marker,
    ModelConfig,
    ReloadAnswer,
    State,
)

T = TypeVar("T")
Json = dict[str, Any]
_PLAIN = (
    "at",
    "looked_at",
    "reachable",
    "unreachable_since",
    "cleared_at",
    "foreign",
    "restarted_at",
    "quiet_since",
    "marker_gone",
    "other_writer_since",
    "wedged",
    "closed",
    "exhausted_at",
    "adopted_at",
    "not_adopted",
)


def to_json(observed: Observed) -> Json:
    """Return the document of what is known of a server."""
    plain = {name: getattr(observed, name) for name in _PLAIN}
    structured = {
        "models": _each_version(observed.models, _seen_to_json),
        "labels": {name: dict(labels) for name, labels in observed.labels.items()},
        "proven": {name: dict(labels) for name, labels in observed.proven.items()},
        "verified": _maybe(observed.verified, _verified_to_json),
        "intent": _maybe(observed.intent, _intent_to_json),
        "flips": [asdict(one) | {"names": sorted(one.names)} for one in observed.flips],
        "ghosts": [_intent_to_json(one) for one in observed.ghosts],
        "refusal": _maybe(observed.refusal, asdict),
        "added": _each_version(observed.added, _same),
        "dropped": _each_version(observed.dropped, _same),
        "failures": _each_version(observed.failures, asdict),
        "suspects": _each_version(observed.suspects, asdict),
    }
    return {name: value for name, value in (plain | structured).items() if value}


def from_json(document: Mapping[str, Any]) -> Observed:
    """Return what `to_json` wrote; keys that it does not know are others' business."""
    plain = {name: document[name] for name in _PLAIN if name in document}
    return Observed(
        **plain,
        models=_by_version(document.get("models", {}), _seen),
        labels=document.get("labels", {}),
        proven=document.get("proven", {}),
        verified=_maybe(document.get("verified"), _verified),
        intent=_maybe(document.get("intent"), _intent),
        flips=tuple(
            Flip(one["at"], one["held_s"], frozenset(one["names"]))
            for one in document.get("flips", ())
        ),
        ghosts=tuple(_intent(one) for one in document.get("ghosts", ())),
        refusal=_maybe(document.get("refusal"), lambda one: Refusal(**one)),
        added=_by_version(document.get("added", {}), _same),
        dropped=_by_version(document.get("dropped", {}), _same),
        failures=_by_version(document.get("failures", {}), lambda one: Failure(**one)),
        suspects=_by_version(document.get("suspects", {}), lambda one: Suspect(**one)),
    )


def _same(value: T) -> T:
    return value


def _maybe(value: Any, convert: Callable[[Any], T]) -> T | None:
    return None if value is None else convert(value)


def _each_version(
    models: Mapping[str, Mapping[int, T]], convert: Callable[[T], Any]
) -> dict[str, dict[str, Any]]:
    return {
        name: {str(version): convert(one) for version, one in versions.items()}
        for name, versions in models.items()
    }


def _by_version(
    document: Mapping[str, Mapping[str, Any]], convert: Callable[[Any], T]
) -> dict[str, dict[int, T]]:
    return {
        name: {int(version): convert(one) for version, one in versions.items()}
        for name, versions in document.items()
    }


def _seen_to_json(seen: VersionSeen) -> Json:
    document: Json = {"state": seen.state.name, "since": seen.since}
    if seen.error_code or seen.error:
        document |= {"error_code": seen.error_code, "error": seen.error}
    if seen.served:
        document["served"] = True
    if seen.able:
        document["able"] = {"ability": str(seen.able.ability), "text": seen.able.text}
    return document


def _seen(document: Json) -> VersionSeen:
    able = document.get("able")
    return VersionSeen(
        state=State[document["state"]],
        since=document["since"],
        error_code=document.get("error_code", 0),
        error=document.get("error", ""),
        served=document.get("served", False),
        able=Able(Ability(able["ability"]), able["text"]) if able else None,
    )


def _config_to_json(config: Config) -> Json:
    return {
        name: {
            "base_path": one.base_path,
            "versions": sorted(one.versions),
            "labels": dict(one.labels),
        }
        for name, one in config.models.items()
    }


def _config(document: Json) -> Config:
    return Config(
        {
            name: ModelConfig(one["base_path"], frozenset(one["versions"]), one["labels"])
            for name, one in document.items()
        }
    )


def _marker(document: Json) -> Marker:
    return Marker(**document)


def _verified_to_json(verified: Verified) -> Json:
    marker = _maybe(verified.marker, asdict)
    return {"config": _config_to_json(verified.config), "marker": marker, "at": verified.at}


def _verified(document: Json) -> Verified:
    config = _config(document["config"])
    return Verified(config, _maybe(document["marker"], _marker), document["at"])


def _intent_to_json(intent: Intent) -> Json:
    return {
        "config": _config_to_json(intent.config),
        "marker": _maybe(intent.marker, asdict),
        "names_added": sorted(intent.names_added),
        "sent_at": intent.sent_at,
        "epoch": intent.epoch,
        "answer": _maybe(intent.answer, asdict),
        "answered_at": intent.answered_at,
        "reached_at": intent.reached_at,
    }


def _intent(document: Json) -> Intent:
    structured = {
        "config": _config(document["config"]),
        "marker": _maybe(document["marker"], _marker),
        "names_added": frozenset(document["names_added"]),
        "answer": _maybe(document["answer"], lambda one: ReloadAnswer(**one)),
    }
    return Intent(**{**document, **structured})
