"""What rollouts ask of gates and hooks; what answers them lives beside, and nudges when it may.

Both answer soon, from what is known. Whoever implements them nudges the rollout's key,
`world.nudge(Key("rollout", fleet, id))`, when an answer has become another.
"""

from collections.abc import Mapping
from typing import Protocol

from control_plane.domain.gate import Verdict
from control_plane.domain.hook import HookFact, Moment
from control_plane.reconcile.assignments import Live


class Gates(Protocol):
    """Judges rollouts whose current step is a gate."""

    def verdict(self, live: Live) -> Verdict | None:
        """Return what the gate that is under way has ruled; None if it has not yet."""
        ...


class Hooks(Protocol):
    """Runs what users want run; `domain.moments.due` says which moments a rollout stands at."""

    async def facts(self, live: Live) -> Mapping[Moment, HookFact]:
        """Return how far the hooks of every moment are; a moment left out has none.

        A moment with hooks is PENDING before it is due too: that holds the rollout there.
        """
        ...


class Duty(Protocol):
    """What is done for fleets as wholes, now and then."""

    async def work(self, fleet: str) -> float | None:
        """Do what is due for a fleet; return when to come again, None if not before a nudge."""
        ...

    def forget(self, fleet: str) -> None:
        """Let go of a fleet that another process leads now."""
        ...

    def close(self) -> None:
        """Give up what runs."""
        ...


class NoGates:
    """Every gate waits."""

    def verdict(self, live: Live) -> Verdict | None:
        """Return no verdict."""
        del live
        return None


class NoHooks:
    """There are no hooks."""

    async def facts(self, live: Live) -> Mapping[Moment, HookFact]:
        """Return no facts."""
        del live
        return {}
