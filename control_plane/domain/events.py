"""Events: past-tense records in the journal."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class EventKind(enum.StrEnum):
    """Everything that the journal tells."""

    MODEL_CREATED = "model.created"
    MODEL_CHANGED = "model.changed"
    MODEL_DELETED = "model.deleted"
    VERSION_REGISTERED = "version.registered"
    VERSION_CHANGED = "version.changed"
    VERSION_DIGESTED = "version.digested"
    VERSION_DELETED = "version.deleted"
    REQUEST_SET_CREATED = "request_set.created"
    REQUEST_SET_DELETED = "request_set.deleted"
    FLEET_CREATED = "fleet.created"
    FLEET_CHANGED = "fleet.changed"
    FLEET_DELETED = "fleet.deleted"
    SERVER_ADDED = "server.added"
    SERVER_CHANGED = "server.changed"
    SERVER_REMOVED = "server.removed"
    SERVER_TAKEN_OVER = "server.taken_over"
    SERVER_STATUS_CHANGED = "server.status_changed"  # ready, busy, wedged, unreachable, ...
    SERVER_RELOADED = "server.reloaded"  # a push was answered
    SERVER_DRIFTED = "server.drifted"  # it does not run what we verified; `cause` says why
    SERVER_ENFORCED = "server.enforced"  # somebody had ours put back, whatever was seen there
    SERVER_PAUSED = "server.paused"  # our config is not put back there any more
    SERVER_JOINED = "server.joined"  # who a source found has its config, and counts
    SERVER_MISSING = "server.missing"  # its source lists it no more; the grace period runs
    SERVER_REFUSED = "server.refused"  # a source lists what cannot be a server of its fleet
    SERVER_DRAINED = "server.drained"
    SERVER_UNDRAINED = "server.undrained"
    SERVER_BOOT_CONFIG_FAILED = "server.boot_config_failed"
    SOURCE_CREATED = "source.created"
    SOURCE_CHANGED = "source.changed"
    SOURCE_DELETED = "source.deleted"
    SOURCE_FAILED = "source.failed"  # nothing is concluded from it until it answers
    SOURCE_ANSWERED = "source.answered"  # again
    VERSION_SUSPECTED = "version.suspected"  # of having brought its server down
    VERSION_STATE_CHANGED = "version.state_changed"  # of one version on one server
    LABEL_VERIFIED = "label.verified"  # on every server that counts
    LABEL_ANSWERED = "label.answered"  # otherwise than before, on one server
    REVISION_CREATED = "revision.created"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_STEP_STARTED = "rollout.step_started"
    ROLLOUT_STEP_ENDED = "rollout.step_ended"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLOUT_RESUMED = "rollout.resumed"
    ROLLOUT_APPROVED = "rollout.approved"
    ROLLOUT_REJECTED = "rollout.rejected"
    ROLLOUT_HURRIED = "rollout.hurried"  # somebody would not wait for bake, gates, approvals
    ROLLOUT_GLASS_BROKEN = "rollout.glass_broken"  # it goes on in spite of freezes or approvals
    ROLLOUT_SUPERSEDED = "rollout.superseded"
    ROLLOUT_ENDED = "rollout.ended"
    HOOK_CREATED = "hook.created"
    HOOK_DELETED = "hook.deleted"
    HOOK_ENDED = "hook.ended"  # a run of one; those of `on_event` are not told
    HOLD_RESUMED = "hold.resumed"
    STRATEGY_CHANGED = "strategy.changed"
    STRATEGY_DELETED = "strategy.deleted"
    TOKEN_CREATED = "token.created"  # noqa: S105 - an event's name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - an event's name
    SHUTDOWN_REQUESTED = "shutdown.requested"  # of one replica, all of its processes


@dataclass(frozen=True, slots=True)
class Event:
    """One journal record; `seq` is 0 until the journal gave it its number."""

    kind: EventKind
    at: datetime
    actor: str
    fleet: str = ""
    model: str = ""
    server: str = ""
    rollout: str = ""
    revision: int = 0
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody wants to see; "" and None stand for any."""

    fleet: str = ""
    model: str = ""
    server: str = ""
    actor: str = ""
    kind: str = ""  # a kind, or what kinds begin with: `rollout` is all of `rollout.…`
    since: datetime | None = None
    until: datetime | None = None  # itself not
