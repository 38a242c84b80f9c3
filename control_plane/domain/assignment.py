"""What one server should serve now, by the head and by the steps of live rollouts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from control_plane.domain.fleet import OnDrift

DEFAULT_POLL_S = 1.0
DEFAULT_RETRIES, DEFAULT_RETRY_S = 5, 60.0
LOAD_ESTIMATE_S = 60.0


@dataclass(frozen=True, slots=True)
class Want:
    """What a server should serve of one model."""

    base_path: str  # as the server sees it
    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    urgent: bool = False  # a rollback: its label moves go before all others
    moving: bool = False  # a rollout stands between load and verify: no adds of other models
    group: str = ""  # models of one group flip in one config or not at all
    elsewhere: frozenset[int] = frozenset()  # versions AVAILABLE on another server of the fleet
    room: frozenset[int] = frozenset()  # goes before the server loads anything


@dataclass(frozen=True, slots=True)
class Traits:
    """How this server was started, as far as we know; the careful guess elsewhere."""

    labels_flag: bool = False  # new labels are allowed on versions that are not AVAILABLE
    inline_loads: bool = True  # num_load_threads is 0 or unknown
    poll_s: float = DEFAULT_POLL_S
    opaque: bool = False  # we cannot see the storage
    load_budget_s: float = (DEFAULT_RETRIES + 1) * (DEFAULT_RETRY_S + LOAD_ESTIMATE_S)

    @property
    def settle_s(self) -> float:
        """How long the server needs to notice a drop and act on it, with room."""
        return 2 * self.poll_s + 1

    @property
    def pickup_s(self) -> float:
        """How long a listed version may show nothing before something is wrong."""
        return 3 * self.poll_s + self.settle_s


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that one server should serve, and what we may do to bring it there."""

    models: Mapping[str, Want]
    owner: str  # our owner marker's name
    taken_over: bool = True
    taken_over_at: float = 0.0  # POSIX seconds: when somebody last said so
    has_revisions: bool = True  # a database that knows servers but no revisions pushes nothing
    may_empty: bool = False  # a revision undeployed the last model
    traits: Traits = field(default_factory=Traits)
    on_drift: OnDrift = "enforce"
    rereads: bool = False  # the server applies its config file again and again
