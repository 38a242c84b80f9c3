"""What the passes of the loop share, and what this process holds in memory of each server."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from control_plane.domain.address import Address
from control_plane.domain.advance import Reach
from control_plane.domain.assigned import Elsewhere
from control_plane.domain.assignment import Assignment
from control_plane.domain.events import Event
from control_plane.domain.fleet import Server
from control_plane.domain.leasing import Terms
from control_plane.domain.observed import Instant, Intent, Observed
from control_plane.domain.signature import Signatures
from control_plane.domain.standing import Standpoint, Status
from control_plane.reconcile.desired import DesiredState
from control_plane.reconcile.leader import Leadership
from control_plane.reconcile.observe import Storage
from control_plane.reconcile.recorder import Recorder
from control_plane.reconcile.seams import Gates, Hooks, NoGates, NoHooks
from control_plane.reconcile.turnstile import Turnstile
from control_plane.serving.client import ModelServer
from control_plane.store.database import Database


@dataclass(frozen=True, slots=True)
class Options:
    """How often things are looked at, and how long they may take."""

    observe_interval_s: float = 2.0  # a steady server's marker is probed so often
    sweep_s: float = 30.0  # every status of a steady server is read once in this time
    resync_s: float = 5.0  # the database is read so often, nudged or not
    dial_s: float = 0.5  # pause before an unreachable server is tried again
    rpc_timeout_s: float = 2.0
    ask_timeout_s: float = 10.0  # for the one real request to a new version
    flush_s: float = 10.0  # `last_seen_at` of all servers is written so often
    discovery_s: float = 5.0  # sources of servers are looked at so often
    dns_servers: tuple[Address, ...] = ()  # that they ask; none: those that the machine is set to
    hook_commands_file: Path | None = None  # declares what hooks may run here; None: nothing
    holder: str = ""  # who holds the leases; a name that only one process at a time has
    terms: Terms = field(default_factory=Terms)  # of the leases


class Key(NamedTuple):
    """Who a pass is for."""

    kind: str  # fleets | fleet | server | rollout | plan | seen | sources | boot
    fleet: str = ""
    name: str = ""


@dataclass(slots=True)
class Tracked:
    """One server, as this process knows it; only its own pass changes it."""

    server: Server
    client: ModelServer
    observed: Observed
    recorded: Observed  # as it was written last
    status: Status | None = None  # as it was written last
    unwritten: bool = False  # the last write failed, or the lease did not let it
    assignment: Assignment | None = None
    standpoint: Standpoint | None = None  # the last plan
    basis: tuple[object, ...] = ()  # what of the desired state it was made from
    looking: bool = False  # a pass runs that has not taken the desired state yet
    answers: list[Intent] = field(default_factory=list)  # of calls, not yet learnt from
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)  # to be written with the next record
    told: dict[str, tuple[str, Reach]] = field(default_factory=dict)  # to rollouts, by id
    sliced_at: Instant = 0.0  # when the sweep went on last
    slice: int = 0
    sweeps: list[asyncio.Future[None]] = field(default_factory=list)  # who waits for a whole one
    trip_s: float = 0.0  # the round trip, smoothed; 0 while it does not answer

    @property
    def key(self) -> Key:
        """Its key in the queue."""
        return Key("server", self.server.fleet, self.server.name)

    async def close(self) -> None:
        """Give up its calls and its connection; what they did is found out by looking."""
        calls = list(self.calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for waiting in self.sweeps:
            waiting.cancel()
        await self.client.close()


@dataclass(slots=True)
class World:
    """Everything that passes use."""

    db: Database
    clock: Callable[[], datetime]
    options: Options
    installation: str
    desired: DesiredState
    leadership: Leadership
    recorder: Recorder
    storage: Storage
    nudge: Callable[[Key], None]
    written: Callable[[], None]  # tells that something new is in the database
    gates: Gates = field(default_factory=NoGates)
    hooks: Hooks = field(default_factory=NoHooks)
    tracked: dict[str, dict[str, Tracked]] = field(default_factory=dict)  # of our fleets, by name
    moving: set[Key] = field(default_factory=set)
    signatures: dict[tuple[str, int], Signatures] = field(default_factory=dict)
    catalog_turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # one read for all who ask
    full_looks: Turnstile = field(default_factory=Turnstile)
    dials: Turnstile = field(default_factory=Turnstile)

    def now(self) -> Instant:
        """The time as the domain counts it."""
        return self.clock().timestamp()

    def of(self, fleet: str) -> dict[str, Tracked]:
        """The servers of a fleet; none where it is not ours."""
        return self.tracked.get(fleet, {})

    def elsewhere(self, it: Tracked) -> Elsewhere:
        """What is AVAILABLE on the other servers of its fleet, of the models that it failed."""
        found: dict[str, set[int]] = {}
        for name in it.observed.failures:
            for other in self.of(it.server.fleet).values():
                if other is not it:
                    seen = other.observed.models.get(name, {})
                    found.setdefault(name, set()).update(
                        v for v in seen if other.observed.available(name, v)
                    )
        return {name: frozenset(versions) for name, versions in found.items()}
