"""Which version answered a label, when, where, and who had moved it there: from what was seen.

A span begins when a server was first seen to answer with a version and ends when it was seen not
to, did not answer at all, or was forgotten. What revisions say only explains it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.domain.events import Event, EventKind
from control_plane.domain.observed import Observed

Labels = Mapping[tuple[str, str], int]  # by model and label
TOLD_BY: Final = (
    EventKind.LABEL_ANSWERED,
    EventKind.SERVER_STATUS_CHANGED,
    EventKind.SERVER_REMOVED,
    EventKind.REVISION_CREATED,
)
_UNREACHABLE: Final = "unreachable"


def answering(observed: Observed) -> Labels:
    """Return what a server's labels answer with: of its verified config, else as probed."""
    verified = observed.verified
    of_models: Mapping[str, Mapping[str, int]] = observed.labels
    if verified is not None:
        of_models = {name: one.labels for name, one in verified.config.models.items()}
    return {
        (model, label): version
        for model, labels in of_models.items()
        for label, version in labels.items()
        if observed.available(model, version)
    }


@dataclass(frozen=True, slots=True)
class Span:
    """That a server answered with one version all the time; `until` is None while it does."""

    server: str
    since: datetime
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it answered so at a time."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Mover:
    """The revision that moved the label; all is empty where none of ours did."""

    revision: int | None = None
    kind: str = ""
    actor: str = ""
    reason: str = ""
    rollout: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """That some server answered with a version; over when the last one stopped."""

    version: int
    since: datetime
    until: datetime | None
    spans: tuple[Span, ...]
    mover: Mover = field(default_factory=Mover)

    def at(self, at: datetime) -> "Interval | None":
        """Return it with the servers that answered so at a time; None if there were none."""
        spans = tuple(one for one in self.spans if one.holds(at))
        return replace(self, spans=spans) if spans else None


@dataclass(slots=True)
class _Open:
    since: datetime
    mover: Mover
    spans: list[Span] = field(default_factory=list)


class _Reading:
    """What reading the journal from its beginning has brought so far."""

    def __init__(self, model: str, label: str) -> None:
        self._model, self._label = model, label
        self._points: dict[str, int] = {}  # by server: where its label was last seen
        self._answers: dict[str, int] = {}  # those of them that answer
        self._silent: set[str] = set()
        self._movers: dict[int, Mover] = {}  # by version: who moved the label there last
        self._wanted: int | None = None
        self.open: dict[int, _Open] = {}
        self.closed: list[Interval] = []

    def take(self, event: Event) -> None:
        """Read one more event."""
        match event.kind:
            case EventKind.REVISION_CREATED:
                self._revise(event)
            case EventKind.SERVER_STATUS_CHANGED:
                silent = event.data.get("status") == _UNREACHABLE
                (self._silent.add if silent else self._silent.discard)(event.server)
            case EventKind.SERVER_REMOVED:
                self._points.pop(event.server, None)
            case _ if event.model == self._model and event.data.get("label") == self._label:
                version = event.data.get("version")
                self._points.pop(event.server, None)
                if isinstance(version, int):
                    self._points[event.server] = version
        self._compare(event.server, event.at)

    def _revise(self, event: Event) -> None:
        changes: Mapping[str, Mapping[str, Mapping[str, int]] | None] = event.data["changes"]
        if self._model not in changes:
            return
        wanted = ((changes[self._model] or {}).get("labels") or {}).get(self._label)
        if wanted is not None and wanted != self._wanted:
            kind = str(event.data.get("kind", ""))
            mover = Mover(event.revision, kind, event.actor, event.reason, event.rollout)
            self._movers[wanted] = mover
        self._wanted = wanted

    def _compare(self, server: str, at: datetime) -> None:
        now = None if server in self._silent else self._points.get(server)
        before = self._answers.get(server)
        if now == before:
            return
        if before is not None:
            self._leave(server, before, at)
        if now is not None:
            self._answers[server] = now
            found = self.open.setdefault(now, _Open(at, self._mover(now)))
            found.spans.append(Span(server, at))

    def _mover(self, version: int) -> Mover:
        return self._movers.get(version, Mover())

    def _leave(self, server: str, version: int, at: datetime) -> None:
        del self._answers[server]
        found = self.open[version]
        found.spans = [
            replace(one, until=at) if one.server == server and one.until is None else one
            for one in found.spans
        ]
        if version not in self._answers.values():
            del self.open[version]
            spans = tuple(found.spans)
            self.closed.append(Interval(version, found.since, at, spans, found.mover))


def intervals(events: Iterable[Event], model: str, label: str) -> tuple[Interval, ...]:
    """Return which versions answered a label, the newest first, from events in their order."""
    reading = _Reading(model, label)
    for one in events:
        reading.take(one)
    going_on = (
        Interval(version, one.since, None, tuple(one.spans), one.mover)
        for version, one in reading.open.items()
    )
    return tuple(sorted((*reading.closed, *going_on), key=lambda one: one.since, reverse=True))


def changed(before: Labels, after: Labels) -> Iterator[tuple[str, str, int | None, int | None]]:
    """Yield model, label and the versions before and after, of every label that changed."""
    keys: Collection[tuple[str, str]] = {*before, *after}
    for model, label in sorted(keys):
        old, new = before.get((model, label)), after.get((model, label))
        if old != new:
            yield model, label, old, new
