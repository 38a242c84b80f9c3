"""What is worth telling between two looks at a server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control_plane.domain.advance import LOOP_ACTOR
from control_plane.domain.answering import answering, changed
from control_plane.domain.drift import Probably, cause, gone
from control_plane.domain.events import Event, EventKind
from control_plane.domain.fleet import Server
from control_plane.domain.observed import Intent, Observed, VersionSeen
from control_plane.domain.quarantine import ENOUGH
from control_plane.domain.state import ReloadAnswer


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes events about one server."""

    server: Server
    at: datetime

    def event(self, kind: EventKind, model: str = "", **data: Any) -> Event:
        """Return an event about this server."""
        fleet, name = self.server.fleet, self.server.name
        return Event(kind, self.at, LOOP_ACTOR, fleet=fleet, model=model, server=name, data=data)

    def changes(self, before: Observed, after: Observed) -> Iterator[Event]:
        """Yield what changed of versions and labels, and whether somebody else wrote there."""
        for model in sorted({*before.models, *after.models}):
            old, new = before.models.get(model, {}), after.models.get(model, {})
            for version in sorted({*old, *new}):
                if _gist(old.get(version)) != _gist(new.get(version)):
                    yield self._state(model, version, old.get(version), new.get(version))
        yield from self._suspects(before, after)
        for model, label, was, now in changed(answering(before), answering(after)):
            told = {"label": label, "version": now, "before": was}
            yield self.event(EventKind.LABEL_ANSWERED, model, **told)
        yield from self._drift(before, after)

    def _drift(self, before: Observed, after: Observed) -> Iterator[Event]:
        """Yield each way in which what it runs stopped being what we verified."""
        if before.verified is not None and after.restarted_at != before.restarted_at:
            told = "its process is another one: the config that we pushed is gone"
            yield self._drifted(Probably.RESTART, told)
        elif after.flips and after.flips != before.flips:
            rereads = bool(self.server.flags.model_config_file_poll_wait_seconds)
            held_s = round(after.flips[-1].held_s, 1)
            told = f"it runs a config that is not ours; ours had stood for {held_s:g} s"
            yield self._drifted(cause(after, rereads=rereads), told, held_s=held_s)
        for model, version in gone(before, after):
            told = f"{model} {version} was unloaded, and nobody asked for that"
            yield self._drifted(Probably.DELETED, told, model, version=version)

    def _drifted(self, which: Probably, sentence: str, model: str = "", **data: Any) -> Event:
        told = {"cause": str(which), "sentence": sentence, **data}
        return self.event(EventKind.SERVER_DRIFTED, model, **told)

    def paused(self, sentence: str) -> Event:
        """Return the event of giving up on putting our config back."""
        return self.event(EventKind.SERVER_PAUSED, sentence=sentence)

    def _suspects(self, before: Observed, after: Observed) -> Iterator[Event]:
        for model, suspects in sorted(after.suspects.items()):
            for version, one in sorted(suspects.items()):
                if before.suspects.get(model, {}).get(version) != one:
                    held = one.weight >= ENOUGH
                    told = {"version": version, "sentence": one.why, "held_back": held}
                    yield self.event(EventKind.VERSION_SUSPECTED, model, **told)

    def status(self, status: str, before: str, sentence: str) -> Event:
        """Return the event of a new status."""
        data = {"status": status, "before": before, "sentence": sentence}
        return self.event(EventKind.SERVER_STATUS_CHANGED, **data)

    def reloaded(
        self, intent: Intent, answer: ReloadAnswer, took_s: float, why: str, sent: Mapping[str, Any]
    ) -> Event:
        """Return the event of a push that ended, one way or another."""
        return self.event(
            EventKind.SERVER_RELOADED,
            code=answer.code,
            message=answer.message,
            digest=intent.config.digest,
            names_added=sorted(intent.names_added),
            sent_at=intent.sent_at,
            epoch=intent.epoch,
            took_s=round(took_s, 4),
            sentence=why,
            **sent,
        )

    def _state(
        self, model: str, version: int, old: VersionSeen | None, new: VersionSeen | None
    ) -> Event:
        return self.event(
            EventKind.VERSION_STATE_CHANGED,
            model,
            version=version,
            state=new.state.name if new else "",
            before=old.state.name if old else "",
            error=new.error if new else "",
        )


def _gist(seen: VersionSeen | None) -> tuple[str, str] | None:
    return (seen.state.name, seen.error) if seen else None
