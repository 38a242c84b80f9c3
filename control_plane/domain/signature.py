"""Signatures: what a version takes and gives back, and what a change means to its callers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = -1  # a dimension of any size


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of one named tensor."""

    dtype: str  # TensorFlow's name: DT_FLOAT, DT_STRING, …
    shape: tuple[int, ...] | None = None  # -1 is a dimension of any size; None an unknown rank


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a version."""

    method_name: str = ""
    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)


Signatures = Mapping[str, Signature]
