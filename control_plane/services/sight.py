"""One consistent look at a fleet: what should be, and what was seen of each server."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from control_plane.domain.answering import Labels, answering
from control_plane.domain.fleet import Fleet, Server
from control_plane.domain.observed import Observed, VersionSeen
from control_plane.domain.record import from_json
from control_plane.domain.rollout import Rollout
from control_plane.domain.steps import Journey, StepTarget, desired_models, still_moves, targets_of
from control_plane.services.transitions import around
from control_plane.store import fleets, revisions, rollouts
from control_plane.store.database import Session
from control_plane.store.revisions import Head

T = TypeVar("T")
UNSEEN = Observed()
UNLABELLED: Labels = {}


@dataclass(frozen=True, slots=True)
class Sight:
    """A fleet as it should be and as it was last seen."""

    fleet: Fleet
    servers: tuple[Server, ...]
    observed: Mapping[str, Observed]  # by server; those never looked at are left out
    said: Mapping[str, Mapping[str, Any]]  # by server: what the loop's last pass concluded
    last_seen: Mapping[str, datetime]
    heads: Mapping[str, Head]
    journeys: tuple[Journey, ...]
    targets: Mapping[str, StepTarget]  # by model: what its servers should serve at this moment
    stamps: Mapping[str, str]  # of the observations, by server, where the database has any
    answering: Mapping[str, Labels]  # by server: the version that each label answers with
    _counts: dict[tuple[str, str], Counter[int]] = field(default_factory=dict, repr=False)

    @property
    def live(self) -> tuple[Rollout, ...]:
        """The live rollouts."""
        return tuple(rollout for rollout, _, _ in self.journeys)

    def targets_of(self, server: str) -> Mapping[str, StepTarget]:
        """What one server should serve: what all do, and what steps gave it before others."""
        return targets_of(server, self.targets, self.journeys)

    @property
    def ours(self) -> tuple[Server, ...]:
        """The servers that were taken over: those that count."""
        return tuple(one for one in self.servers if one.taken_over)

    def of(self, server: str) -> Observed:
        """What is known of a server."""
        return self.observed.get(server, UNSEEN)

    def rollout_of(self, model: str) -> Rollout | None:
        """The live rollout of a model, if it has one."""
        return next((one for one in self.live if model in one.models), None)

    def state(self, server: str, model: str, version: int) -> VersionSeen | None:
        """How a version was last seen on a server that answers."""
        seen = self.of(server)
        return seen.models.get(model, {}).get(version) if seen.reachable else None

    def answers(self, server: str, model: str, label: str, version: int) -> bool:
        """Whether a label was last seen answering with this version on a server."""
        seen = self.of(server)
        points = self.labels(server, model).get(label) == version
        return seen.reachable and points and seen.available(model, version)

    def answered(self, model: str, label: str) -> Mapping[str, int]:
        """With which versions a label was last seen answering, and on how many servers of ours."""
        if not self._counts:
            for one in self.ours:
                for key, version in self.answering.get(one.name, UNLABELLED).items():
                    self._counts.setdefault(key, Counter())[version] += 1
        counts = self._counts.get((model, label), Counter())
        return {str(version): counts[version] for version in sorted(counts)}

    def moves(self, model: str, label: str) -> bool:
        """Whether a live rollout has yet to bring a label everywhere."""
        return any(still_moves(one, model, label) for one in self.journeys)

    def labels(self, server: str, model: str) -> Mapping[str, int]:
        """Where a server's labels point: by the config whose marker answers, else as probed."""
        seen = self.of(server)
        if seen.verified is None:
            return seen.labels.get(model, {})
        held = seen.verified.config.models.get(model)
        return held.labels if held is not None else {}


async def look(s: Session, name: str, last: Sight | None = None) -> Sight:
    """Read all of a fleet; what has not changed since the last look at it is taken from there.

    Raises:
        NotFound: no such fleet.
    """
    fleet = await fleets.fleet(s, name)
    known = last.stamps if last else {}
    stamps, documents = await fleets.newer_observations(s, name, known)
    same = frozenset(server for server, stamp in known.items() if stamps.get(server) == stamp)
    fresh = {server: from_json(one) for server, one in documents.items()}
    said = {
        server: {word: one.get(word) for word in ("status", "sentence")}
        for server, one in documents.items()
    }
    answers = {server: answering(one) if one.reachable else {} for server, one in fresh.items()}
    heads = await revisions.head(s, name)
    live = [(one, *await around(s, one)) for one in await rollouts.live(s, name)]
    return Sight(
        fleet=fleet,
        servers=await fleets.servers(s, name),
        observed=_kept(last.observed if last else {}, same) | fresh,
        said=_kept(last.said if last else {}, same) | said,
        last_seen=await fleets.last_seen(s, name),
        heads=heads,
        journeys=tuple(live),
        targets=desired_models(
            {model: one.deployment for model, one in heads.items()},
            live,
            {model: one.revision for model, one in heads.items()},
        ),
        stamps=stamps,
        answering=_kept(last.answering if last else {}, same) | answers,
    )


def _kept(before: Mapping[str, T], same: frozenset[str]) -> dict[str, T]:
    return {server: one for server, one in before.items() if server in same}
