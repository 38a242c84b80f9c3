"""Revisions: numbered, immutable changes of what a fleet should serve."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Specific:
    """Exactly the listed versions."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The n highest registered versions, joined with what is labelled or kept."""

    n: int = 1
    auto_load: bool = False  # also take a number above `stable` without asking a person


@dataclass(frozen=True, slots=True)
class All:
    """Every registered version."""

    auto_load: bool = False


Policy = Specific | Latest | All


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a fleet should serve of one model."""

    model: str
    versions: frozenset[int]  # never empty; what must be loaded, kept versions included
    labels: Mapping[str, int] = field(default_factory=dict)  # each target is in `versions`
    policy: Policy = field(default_factory=Specific)
    keep_previous: int = 1  # verified stable versions before this one that stay loaded


class Kind(enum.StrEnum):
    """Why a revision was written."""

    DEPLOY = "deploy"  # a PUT of a deployment
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"
    UNDEPLOY = "undeploy"
    RESTORE = "restore"  # a whole state copied from an older revision
    REVERT = "revert"  # written when a rollout ends without success; its parent state again
    ADOPT = "adopt"  # what somebody else had a server serve
    IMPORT = "import"  # what servers were seen to serve of a config file
    POLICY = "policy"  # a scan found versions that a policy takes


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a fleet's desired state; holds only the deployments that it changes."""

    fleet: str
    number: int
    parent: int
    kind: Kind
    actor: str
    reason: str
    created_at: datetime
    changes: Mapping[str, Deployment | None]  # None: the model is not deployed any more
