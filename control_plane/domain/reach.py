"""What a rollout goes by: how far its servers are, what its gate ruled, what its hooks did."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from control_plane.domain.gate import Verdict
from control_plane.domain.hook import HookFact, Moment
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Rollout, Step, StepName

FILES_GRACE_S: Final = 30.0  # files that are still being copied may arrive for so long


class Reach(enum.StrEnum):
    """How far a server is with the current step."""

    REACHED = "reached"  # observed there, all models of the rollout
    MOVING = "moving"  # on its way, or not looked at yet
    FAILED = "failed"  # a wanted version failed to load, or cannot answer, and is not tried again
    LACKING = "lacking"  # storage does not show the files; given up after `FILES_GRACE_S`
    BLOCKED = "blocked"  # reachable, but something that a person must remove is in the way
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class ServerFact:
    """One server and the rollout's models, for the current step only."""

    reach: Reach
    sentence: str  # the same words while the situation is the same: each change is written down
    error: str = ""  # TensorFlow Serving's own text

    @property
    def words(self) -> str:
        """What it says, with the server's own text."""
        return f"{self.sentence}: {self.error}" if self.error else self.sentence


@dataclass(frozen=True, slots=True)
class Facts:
    """What `advance` goes by; a server without a fact has left the fleet."""

    servers: Mapping[str, ServerFact]  # those of the fleet that were taken over
    max_unavailable: int = 0
    key: str = ""  # the `step_key` that the facts were gathered for; "" is not checked
    old_version_gone: bool = False  # a server can no longer serve what the labels pointed at before
    verdict: Verdict | None = None  # of the gate that is the current step, if it has ruled
    hooks: Mapping[Moment, HookFact] = field(default_factory=dict)  # a moment left out has none


@dataclass(frozen=True, slots=True)
class Count:
    """The servers that count for a step, by reach."""

    facts: Mapping[str, ServerFact]
    waited_for: tuple[str, ...]  # not reached, in order of name

    @classmethod
    def of(cls, rollout: Rollout, step: Step, facts: Facts) -> "Count":
        """Count the servers of a step that are in the fleet and no laggards."""
        names = [n for n in step.servers if n in facts.servers and n not in rollout.laggards]
        counted = {name: facts.servers[name] for name in names}
        return cls(counted, tuple(n for n in names if counted[n].reach is not Reach.REACHED))

    def at(self, *reaches: Reach) -> tuple[str, ...]:
        """Return the servers that are so far."""
        return tuple(name for name, fact in self.facts.items() if fact.reach in reaches)

    @property
    def witnessed(self) -> bool:
        """Whether at least one server was seen there, or none is left that could be."""
        return not self.facts or bool(self.at(Reach.REACHED))

    def enough(self, spare: int) -> bool:
        """Whether all are there but for `spare` servers that do not answer."""
        away = self.at(Reach.UNREACHABLE)
        return self.witnessed and len(away) == len(self.waited_for) <= max(spare, 0)

    def sentence(self, doing: str) -> str:
        """Say how many are there, and what the first of the others say."""
        if not self.facts:
            return f"{doing}: no server of this fleet is taken over"
        reached = len(self.at(Reach.REACHED))
        where = f"{doing}: {reached} of {len(self.facts)} servers"
        told = self.told
        return f"{where}; {told}" if told else where

    @property
    def told(self) -> str:
        """What the first of those that are waited for say."""
        told = "; ".join(f"{name}: {self.facts[name].sentence}" for name in self.waited_for[:3])
        rest = f"; and {len(self.waited_for) - 3} more" if len(self.waited_for) > 3 else ""
        return told + rest


def given_up(rollout: Rollout, step: Step, facts: Facts, now: datetime) -> Facts:
    """Count servers whose files did not come in time as failed, while versions are being loaded."""
    if step.name is not StepName.LOAD and rollout.kind is not Kind.ROLLBACK:
        return facts
    servers = {
        name: _failed(fact) if _too_long(step, name, fact, now) else fact
        for name, fact in facts.servers.items()
    }
    return replace(facts, servers=servers)


def _failed(fact: ServerFact) -> ServerFact:
    why = f"{fact.sentence}; not there within {FILES_GRACE_S:.0f} s"
    return replace(fact, reach=Reach.FAILED, sentence=why)


def _too_long(step: Step, name: str, fact: ServerFact, now: datetime) -> bool:
    seen = step.evidence.get(name)
    if fact.reach is not Reach.LACKING or seen is None:
        return False
    if seen["reach"] == Reach.FAILED:
        return True
    since = datetime.fromisoformat(seen["at"]) if seen["reach"] == Reach.LACKING else now
    return now >= since + timedelta(seconds=FILES_GRACE_S)
