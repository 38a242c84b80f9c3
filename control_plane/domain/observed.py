"""What we know of one server: what looks at it showed, and what we may have done to it.

Persisted between passes and restarts. Nothing in it was concluded from having sent something: an
intent says only that a config may have been applied. Instants are POSIX seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, TypeAlias

from control_plane.domain.state import (
    Able,
    Config,
    LabelAnswer,
    Marker,
    ReloadAnswer,
    State,
    VersionStatus,
)

Instant: TypeAlias = float


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """The last status of a version on this server."""

    state: State
    since: Instant  # when a look first showed this state and error
    error_code: int = 0
    error: str = ""
    served: bool = False  # AVAILABLE at some time in the life of this server's process
    able: Able | None = None  # answer to its one real request, asked since it became AVAILABLE

    @property
    def failed(self) -> bool:
        """Whether this END is a failed load and not a finished unload."""
        return self.state is State.END and self.error_code != 0


@dataclass(frozen=True, slots=True)
class Intent:
    """A config that was committed to be sent; what it did is not known yet."""

    config: Config
    marker: Marker | None  # None: no version of it was AVAILABLE, so status is the evidence
    names_added: frozenset[str]
    sent_at: Instant
    epoch: int = 0
    answer: ReloadAnswer | None = None  # None: the call still runs, as far as we know
    answered_at: Instant = 0.0
    reached_at: Instant = 0.0  # first look that reached the server after the answer was lost

    @property
    def lost(self) -> bool:
        """Whether no answer about the effect will come any more."""
        return self.answer is not None and self.answer.lost


@dataclass(frozen=True, slots=True)
class Verified:
    """A config whose marker was seen, so that its whole label map was accepted."""

    config: Config
    marker: Marker | None
    at: Instant


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's last refusal of a config."""

    digest: str
    text: str
    count: int
    at: Instant


@dataclass(frozen=True, slots=True)
class Failure:
    """How often a version's load failed here since this process started."""

    count: int
    at: Instant


@dataclass(frozen=True, slots=True)
class Flip:
    """That somebody else's config was seen in the place of ours."""

    at: Instant
    held_s: float  # how long ours had stood
    names: frozenset[str]  # the models of ours


@dataclass(frozen=True, slots=True)
class Suspect:
    """A version that may have brought the server down, or that failed before it ended."""

    weight: int  # how often, and how surely; see `quarantine`
    why: str
    at: Instant  # when it was blamed last


Statuses: TypeAlias = Mapping[str, Mapping[int, VersionSeen]]
Times: TypeAlias = Mapping[str, Mapping[int, Instant]]


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one server."""

    at: Instant = 0.0  # the last look that reached it
    looked_at: Instant = 0.0  # the last full look: every status, every label
    reachable: bool = False
    unreachable_since: Instant = 0.0
    models: Statuses = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # as probed
    verified: Verified | None = None  # the running config, while its marker answers
    proven: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # per label, its last
    # verified target: what a restart is brought back to without proof, since it was given before
    intent: Intent | None = None
    ghosts: tuple[Intent, ...] = ()  # void intents, newest last: the server may apply them yet
    cleared_at: Instant = 0.0  # calls sent before this do not run any more
    foreign: bool = False  # somebody else's config was seen since ours
    flips: tuple[Flip, ...] = ()  # the last times that it was, the newest last; of this process
    adopted_at: Instant = 0.0  # when somebody else's config was taken up as desired
    not_adopted: str = ""  # why it could not be
    restarted_at: Instant = 0.0
    quiet_since: Instant = 0.0  # no status and no label has changed since
    marker_gone: bool = False  # the marker's version is not loaded any more
    other_writer_since: Instant = 0.0  # first look with our owner marker and no digest of ours
    wedged: str = ""  # the server's words when only a restart helps
    closed: bool = False  # its port was seen closed since it answered last
    exhausted_at: Instant = 0.0  # when it last had no thread for one of our questions
    refusal: Refusal | None = None
    added: Times = field(default_factory=dict)  # when a push that adds it was sent
    dropped: Times = field(default_factory=dict)  # when a config without it was verified
    failures: Mapping[str, Mapping[int, Failure]] = field(default_factory=dict)
    suspects: Mapping[str, Mapping[int, Suspect]] = field(default_factory=dict)  # outlive a restart

    def says(self, other: "Observed") -> bool:
        """Whether both say the same, whenever they were made."""
        return _said(self) == _said(other)

    def but(self, **news: Any) -> "Observed":
        """Return it with some fields changed; itself, if they are as they were."""
        changed = any(getattr(self, name) != one for name, one in news.items())
        return replace(self, **news) if changed else self

    def statuses(self) -> Iterator[VersionSeen]:
        """Every version on the server, of whatever model."""
        return (one for versions in self.models.values() for one in versions.values())

    def available(self, model: str, version: int) -> bool:
        """Whether the version was last seen AVAILABLE."""
        one = self.models.get(model, {}).get(version)
        return one is not None and one.state is State.AVAILABLE


_said = attrgetter(*(one.name for one in fields(Observed) if one.name != "at"))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a server brought back; what was not asked for is left out."""

    at: Instant
    reachable: bool = True
    statuses: Mapping[str, Mapping[int, VersionStatus]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, LabelAnswer]] = field(default_factory=dict)
    markers: Mapping[tuple[str, str], LabelAnswer] = field(default_factory=dict)
    able: Mapping[str, Mapping[int, Able]] = field(default_factory=dict)
    full: bool = False  # every status and label was asked for
    exhausted: bool = False  # the server had no thread for a question
    closed: bool = False  # its port is closed: no process listens there
    trip_s: float = 0.0  # how long its quickest answer took; 0 where none came


@dataclass(frozen=True, slots=True)
class Presence:
    """What storage shows of one model, as the server sees it."""

    base_path: bool | None = None  # None: storage is opaque to us or did not answer in time
    complete: frozenset[int] = frozenset()
    faults: Mapping[int, str] = field(default_factory=dict)  # why a version must not go out
    broken: frozenset[int] = frozenset()  # faults that waiting does not mend
