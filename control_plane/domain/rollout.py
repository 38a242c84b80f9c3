"""Rollouts: the journey of a deployment, or a group, from one revision to the next.

pending ──► progressing ◄──► waiting ──► succeeded
                │  ▲             │
                ▼  │             ├─────► failed        nothing had moved
              paused             ├─────► rolled_back   a label had moved and was moved back
                                 └─────► aborted       a person said so
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.domain.revision import Kind


class Phase(enum.StrEnum):
    """Where a rollout is; the last four are final."""

    PENDING = "pending"
    PROGRESSING = "progressing"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"

    @property
    def live(self) -> bool:
        """Whether the rollout still drives servers."""
        return self in (Phase.PENDING, Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED)


class StepName(enum.StrEnum):
    """What a step brings the servers of its set to, or what it waits for."""

    LOAD = "load"  # old and new versions loaded, labels as before
    CANARY = "canary"  # as load, but one label for trying out is where it will be after
    BAKE = "bake"  # time passes
    GATE = "gate"  # a verdict is waited for
    APPROVE = "approve"  # people are waited for
    PROMOTE = "promote"  # old and new versions loaded, labels as after
    DRAIN = "drain"  # time passes before anything is dropped
    RETIRE = "retire"  # versions and labels as after: what is not kept is dropped


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a rollout; `servers` is fixed when it starts, `spec` when the rollout does."""

    name: StepName
    phase: Phase = Phase.PENDING
    servers: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)  # per server: sentence, reached
    spec: Mapping[str, Any] = field(default_factory=dict)  # JSON: what the strategy says of it

    @property
    def begun(self) -> bool:
        """Whether it has started, and so counts for what its servers serve."""
        return self.started_at is not None or self.phase is not Phase.PENDING


@dataclass(frozen=True, slots=True)
class Rollout:
    """A live or ended rollout."""

    id: str
    fleet: str
    models: tuple[str, ...]
    kind: Kind
    from_revision: int  # the last revision that was true
    to_revision: int
    phase: Phase
    sentence: str
    steps: tuple[Step, ...]
    created_at: datetime
    deadline_at: datetime
    actor: str
    reason: str = ""
    label: str = ""  # the label that a promotion or rollback moves; "" for others
    laggards: tuple[str, ...] = ()
    ended_at: datetime | None = None
    superseded_by: str = ""
    error: str = ""  # TensorFlow Serving's own text where a load failed
    strategy: str = "direct"
    strategy_number: int = 0  # the edit of it that is followed; 0: the built-in one
    rv: int = 1

    @property
    def step(self) -> Step | None:
        """The step under way: the first that is not succeeded; None when all are."""
        return next((one for one in self.steps if one.phase is not Phase.SUCCEEDED), None)

    @property
    def moved(self) -> bool:
        """Whether labels may have moved: a step that moves one has started."""
        movers = (StepName.CANARY, StepName.PROMOTE)
        return any(one.name in movers and one.phase is not Phase.PENDING for one in self.steps)
