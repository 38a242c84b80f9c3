"""What to do now to one server, or to one model on it."""

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from control_plane.domain.observed import Instant
from control_plane.domain.state import Config, Marker, ModelConfig


class Rank(enum.IntEnum):
    """The order of pushes on one server; the lowest goes first."""

    URGENT = 0  # a label moves back
    MOVE = 1  # a label moves, appears or goes
    RESTORE = 2  # a label returns to the version on which it was verified
    LOAD = 3  # a version is loaded beside others of its model
    DROP = 4
    ADD = 5  # a name that the server does not hold: this reload waits for a load
    MARK = 6  # nothing but our markers


class Cause(enum.StrEnum):
    """Why a person must act. The list is closed; each cause can be removed."""

    NOT_TAKEN_OVER = "not-taken-over"
    NO_REVISION = "no-revision"
    UNREACHABLE = "unreachable"
    OTHER_WRITER = "other-writer"
    DRIFTED = "drifted"
    PAUSED = "paused"
    WEDGED = "wedged"
    REFUSED = "refused"
    BASE_PATH_MISSING = "base-path-missing"
    FILES_MISSING = "files-missing"
    FILES_BROKEN = "files-broken"
    LOAD_FAILED = "load-failed"
    LOAD_OVERDUE = "load-overdue"
    UNLOAD_OVERDUE = "unload-overdue"
    UNABLE = "unable"
    POSTPONED = "postponed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Change:
    """A model's next entry in the config; None takes the name out."""

    rank: Rank
    model: ModelConfig | None
    why: str
    alone: bool = False  # a suspect: it goes when nothing else is to be done


@dataclass(frozen=True, slots=True)
class Reload:
    """Push this config."""

    config: Config
    marker: Marker | None
    names_added: frozenset[str]
    why: str
    adds: bool  # storage must be looked at before it goes out


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something shows; from `until` on it is Blocked."""

    why: str
    until: Instant
    ask: tuple[int, ...] = ()  # versions that have to answer one real request first
    look_again_s: float = 0.0  # 0: as soon as something may have changed
    settles: bool = False  # what is to come back was dropped too short a time ago


@dataclass(frozen=True, slots=True)
class Blocked:
    """It goes no further until a person removes the cause."""

    cause: Cause
    why: str
    ask: tuple[int, ...] = ()  # versions that are asked again all the same


@dataclass(frozen=True, slots=True)
class Converged:
    """The verified config equals the desired one, and everything else is END."""


ModelAction: TypeAlias = Change | Wait | Blocked | Converged
Action: TypeAlias = Reload | Wait | Blocked | Converged


@dataclass(frozen=True, slots=True)
class Plan:
    """One decision about a server."""

    action: Action
    sentence: str
    models: dict[str, ModelAction] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    storage_wanted: bool = False  # the decision would be surer after a look at storage

    @property
    def hot(self) -> frozenset[str]:
        """Models in which something moves or is amiss."""
        return frozenset(n for n, one in self.models.items() if not isinstance(one, Converged))

    @property
    def ask(self) -> tuple[tuple[str, int], ...]:
        """Versions that have to answer one real request before their label moves."""
        return tuple(
            (name, version)
            for name, one in sorted(self.models.items())
            if isinstance(one, Wait | Blocked)
            for version in one.ask
        )
