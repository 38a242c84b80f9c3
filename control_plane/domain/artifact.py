"""Artifacts: what a look at a version's SavedModel directory found."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from control_plane.domain.signature import Signatures

SERVE_TAG = "serve"


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel, named by its tags; a server loads the one that it was told."""

    tags: tuple[str, ...]
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything that the SavedModel names is there and long enough."""

    meta_graphs: tuple[MetaGraph, ...]
    fingerprint: str = ""  # TensorFlow's singleprint; "" where no fingerprint.pb is
    files: Mapping[str, int] = field(default_factory=dict)  # relative name -> size in bytes
    variables: bool = True  # whether it has any; a version without needs no variables folder

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(self.files.values())

    @property
    def signatures(self) -> Signatures:
        """What a server offers: the graph tagged `serve`, else the first with that tag, or any."""
        exact = [one for one in self.meta_graphs if one.tags == (SERVE_TAG,)]
        tagged = [one for one in self.meta_graphs if SERVE_TAG in one.tags]
        return [*exact, *tagged, *self.meta_graphs][0].signatures


@dataclass(frozen=True, slots=True)
class Partial:
    """A file that the SavedModel names is missing or too short: perhaps still being copied."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It is there, and no server could load it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing to be seen at the place, or the place cannot be seen."""

    reason: str
    looked_for: str


Artifact = Complete | Partial | Broken | Absent


@dataclass(frozen=True, slots=True)
class Presence:
    """What storage holds of a model, as far as it was asked for."""

    base_path: str
    base_exists: bool
    versions: Mapping[int, Artifact] = field(default_factory=dict)


def digest_of(files: Mapping[str, str]) -> str:
    """Return one SHA-256 over the files' names and SHA-256."""
    lines = "".join(f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
