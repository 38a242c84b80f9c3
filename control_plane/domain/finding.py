"""Facts about one server, and findings: what a check came to, on what it rests, what to do.

A finding rests on what somebody declared or on what was seen in passing. Where neither tells, it is
unknown, and says how to find out.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from control_plane.domain import symptoms
from control_plane.domain.events import Event
from control_plane.domain.fleet import Server
from control_plane.domain.observed import Instant, Observed, Presence

STALE_S = 60.0  # nobody has looked for so long: what was seen last says nothing about now


class Check(enum.StrEnum):
    """What is looked into, in the order in which it is told."""

    REACHABILITY = "reachability"
    LABELS_FLAG = "labels-flag"
    CONFIG_FILE_POLLING = "config-file-polling"
    FILE_POLL = "file-poll"
    LOAD_RETRIES = "load-retries"
    LOAD_THREADS = "load-threads"
    THREAD_POOL = "thread-pool"
    REST_PORT = "rest-port"
    MONITORING = "monitoring"
    PATHS = "paths"
    CLOCK = "clock"


class Verdict(enum.StrEnum):
    """What a check came to."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's verdict and what it rests on."""

    check: Check
    verdict: Verdict
    found: str
    fix: str = ""  # what to do about a problem
    find_out: str = ""  # how to turn an unknown into something else


@dataclass(frozen=True, slots=True)
class Front:
    """What the server's REST port answered to one look."""

    answers: bool
    text: str = ""  # why it did not, or what it said where metrics should be
    metrics: bool = False
    skew_s: float | None = None  # its clock minus ours; None: it tells no date
    round_trip_s: float = 0.0  # the skew is known to within half of it and a second


@dataclass(frozen=True, slots=True)
class Place:
    """A model that the server should serve, and what storage shows of it."""

    base_path: str  # as the server sees it
    ours: str  # as we see it; "" where storage is opaque
    versions: frozenset[int]
    presence: Presence | None = None  # None: nobody looked


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of one server, and nothing that would have to be asked for."""

    now: Instant
    server: Server
    observed: Observed
    last_seen: Instant = 0.0
    places: Mapping[str, Place] = field(default_factory=dict)
    history: Sequence[Event] = ()  # of this server, the oldest first
    front: Front | None = None  # None: no REST address is declared

    @property
    def loads(self) -> tuple[symptoms.Load, ...]:
        """What we asked it to load."""
        return symptoms.loads(self.history)

    @property
    def fresh(self) -> bool:
        """Whether it answers, as far as the last minute says."""
        return self.observed.reachable and self.now - self.last_seen < STALE_S


def ok(check: Check, found: str) -> Finding:
    """Return a finding of nothing amiss."""
    return Finding(check, Verdict.OK, found)


def problem(check: Check, found: str, fix: str) -> Finding:
    """Return a finding that somebody has to do something about."""
    return Finding(check, Verdict.PROBLEM, found, fix=fix)


def unknown(check: Check, found: str, find_out: str) -> Finding:
    """Return a finding that what is known does not decide."""
    return Finding(check, Verdict.UNKNOWN, found, find_out=find_out)


def tell(facts: Facts, flag: str, value: str) -> str:
    """How somebody who knows the server's command line can say so."""
    command = f"tfsctl server change {facts.server.name} --flag {flag}={value}"
    return f"look for --{flag} in the server's command line, then `{command}`"


def worst(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict over several findings: a problem before what is unknown."""
    verdicts = {one.verdict for one in findings}
    order = (Verdict.PROBLEM, Verdict.UNKNOWN)
    return next((one for one in order if one in verdicts), Verdict.OK)
