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

    @property
    def digest(self) -> str:
        """Name of this config: 16 hex digits over its canonical form, markers left out."""
        canonical = {
            name: [one.base_path, sorted(one.versions), dict(sorted(one.labels.items()))]
            for name, one in sorted(self.models.items())
        }
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def digest_label(self) -> str:
        """The marker label that says which config a server runs."""
        return MARKER_PREFIX + self.digest
