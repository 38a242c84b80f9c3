"""Gates: conditions that must pass before a rollout's next step, and what they ruled."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Ruling(enum.StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - a verdict
    HOLD = "hold"  # not yet: asked again until the rollout's deadline
    FAIL = "fail"  # the rollout ends: failed before labels moved, rolled back after


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's ruling with what it rests on; kept on the step."""

    ruling: Ruling
    sentence: str  # the same words while the situation is the same
    evidence: Mapping[str, Any] = field(default_factory=dict)  # JSON
