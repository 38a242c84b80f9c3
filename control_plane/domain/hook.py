"""Hooks: what a user has run at a named moment of a rollout."""

import enum
from dataclasses import dataclass


class Moment(enum.StrEnum):
    """When a hook runs."""

    BEFORE_LOAD = "before_load"
    AFTER_LOAD = "after_load"  # once per server and version: initialise, warm up
    BEFORE_PROMOTE = "before_promote"
    AFTER_PROMOTE = "after_promote"
    BEFORE_UNLOAD = "before_unload"  # a failing one never blocks the unload, unless told to
    AFTER_UNLOAD = "after_unload"
    ON_FAILURE = "on_failure"
    ON_EVENT = "on_event"


class Stand(enum.StrEnum):
    """How far all hooks of one moment of one rollout are."""

    DONE = "done"  # all ran, or failed with `on_failure: continue`, or there are none
    PENDING = "pending"
    FAILED = "failed"  # one with `on_failure: abort` has used up its retries


@dataclass(frozen=True, slots=True)
class HookFact:
    """The hooks of one moment, as a fact about a rollout."""

    stand: Stand
    sentence: str = ""
