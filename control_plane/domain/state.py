"""What a server serves and says: version states and the whole config that one reload carries."""

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MARKER_PREFIX = "_cp_"  # labels that begin so are ours; see Config.digest
OWNER_PREFIX = "_cp_owner_"


class State(enum.IntEnum):
    """TensorFlow Serving's own states, with its own numbers (`apis/get_model_status.proto`)."""

    UNKNOWN = 0
    START = 10  # managed, nothing done yet
    LOADING = 20  # also throughout all retries of a failing load, without any error text
    AVAILABLE = 30  # reported after it can serve
    UNLOADING = 40  # reported before it stops serving
    END = (
        50  # with an error: the load failed; without one: unloaded. Kept for the process's lifetime
    )


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One entry of GetModelStatus."""

    state: State
    error_code: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model in a server's config; we push nothing but a `specific` policy on `tensorflow`."""

    base_path: str  # as the server sees it
    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Marker:
    """Where a config's two marker labels stand: an AVAILABLE version that stays in the config."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that one server should serve: a reload replaces all of it."""

    models: Mapping[str, ModelConfig] = field(default_factory=dict)
    _digest: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def digest(self) -> str:
        """Name of this config: 16 hex digits over its canonical form, markers left out."""
        if not self._digest:  # asked for at every look, and the same for ever
            self._digest.append(_digest_of(self.models))
        return self._digest[0]

    @property
    def digest_label(self) -> str:
        """The marker label that says which config a server runs."""
        return MARKER_PREFIX + self.digest


def _digest_of(models: Mapping[str, ModelConfig]) -> str:
    canonical = {
        name: [one.base_path, sorted(one.versions), dict(sorted(one.labels.items()))]
        for name, one in sorted(models.items())
    }
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A label that answers: its version is in the server's label map and loaded."""

    version: int


@dataclass(frozen=True, slots=True)
class Absent:
    """A label that the server does not know, or its model, or any label at all yet."""


@dataclass(frozen=True, slots=True)
class Dangling:
    """A label that the server knows, on a version that is not loaded there."""

    version: int


LabelAnswer = Resolved | Absent | Dangling

_LOST_CODES = frozenset({"DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED"})
_NOT_STARTED = "Server Threadpool Exhausted"


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """What a reload's call returned: evidence about the config, never proof of its effect."""

    code: str  # gRPC's name of it: OK, UNKNOWN, INVALID_ARGUMENT, FAILED_PRECONDITION, …
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the server says that it took the config; loads may still have failed."""
        return self.code == "OK"

    @property
    def not_started(self) -> bool:
        """Whether the server had no thread for the call: nothing was applied, nothing will be."""
        return self.code == "RESOURCE_EXHAUSTED" and _NOT_STARTED in self.message

    @property
    def lost(self) -> bool:
        """Whether the answer says nothing about the effect: it may have been, or come later."""
        return self.code in _LOST_CODES


class Ability(enum.StrEnum):
    """What one real request to a version showed; AVAILABLE alone proves nothing."""

    PROVEN = "proven"  # it answered
    UNPROVEN = "unproven"  # it refused the sample itself; its variable files decide
    RETRY = "retry"  # the server was busy or away: ask again
    UNABLE = "unable"  # it cannot answer, e.g. without its variables


@dataclass(frozen=True, slots=True)
class Able:
    """A version's ability to answer, with the server's own words where it did not."""

    ability: Ability
    text: str = ""
