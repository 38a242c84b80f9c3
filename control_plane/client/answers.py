"""What the API answers with, as it stands in its JSON; fields not named here are kept too."""

from collections.abc import Mapping
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")


class Paged(TypedDict, Generic[T]):
    """One page of a list; an empty token ends it."""

    items: list[T]
    next_page_token: NotRequired[str]


class Model(TypedDict):
    """A named model."""

    name: str
    base_path: str
    description: str
    owner: str
    tags: Mapping[str, str]
    created_at: str
    created_by: str


class Version(TypedDict):
    """A registered version."""

    model: str
    version: int
    status: str
    fault: str
    size_bytes: int
    digest: str
    signatures: list[str]
    description: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    source: str
    created_at: str
    created_by: str


class Fault(TypedDict):
    """A version that lies under the base path and cannot be served."""

    version: int
    fault: str


class Scan(TypedDict):
    """What a look at a model's base path found."""

    added: list[int]
    known: list[int]
    unreadable: list[Fault]


class SignatureChange(TypedDict):
    """One difference between two versions' signatures."""

    kind: str
    where: str
    before: Any
    after: Any
    breaking: bool


class SignatureDiff(TypedDict):
    """What callers of one version would notice of another."""

    verdict: Literal["identical", "compatible", "breaking"]
    changes: list[SignatureChange]
    text: str


class RequestSet(TypedDict):
    """Recorded requests to a model."""

    model: str
    name: str
    form: Literal["tfrecord", "json"]
    records: int
    size_bytes: int
    sha256: str
    created_at: str
    created_by: str


class Fleet(TypedDict):
    """The servers that must serve the same thing."""

    name: str
    description: str
    path_map: Mapping[str, str]
    storage: str
    take_over: str
    max_unavailable: int
    revision: int


class Server(TypedDict):
    """One TensorFlow Serving process."""

    name: str
    address: str
    status: str
    sentence: str
    last_seen_at: str | None
    latency_ms: NotRequired[float | None]
    models: Any


class Strategy(TypedDict):
    """The steps that a promotion takes, as they were from one edit to the next."""

    name: str
    number: int
    built_in: bool
    description: str
    steps: list[Mapping[str, Any]]
    created_at: str | None
    created_by: str


class Step(TypedDict):
    """One part of a rollout."""

    name: str
    phase: str
    servers: list[str]
    started_at: str | None
    ended_at: str | None
    spec: Mapping[str, Any]
    evidence: Mapping[str, Any]


class Rollout(TypedDict):
    """The journey of a deployment from one revision to the next."""

    id: str
    fleet: str
    model: str  # "" in a group
    models: list[str]
    kind: str
    label: str
    strategy: Mapping[str, Any]
    from_revision: int
    to_revision: int
    phase: str
    live: bool
    sentence: str
    steps: list[Step]
    laggards: list[str]
    error: str
    actor: str
    reason: str
    superseded_by: str
    created_at: str
    deadline_at: str
    ended_at: str | None


class LabelState(TypedDict):
    """How far a label is where it should be."""

    version: int
    servers: int
    of: int


class DeploymentStatus(TypedDict):
    """How a deployment stands on its servers."""

    phase: str
    sentence: str
    versions: Mapping[str, Mapping[str, int]]
    labels: Mapping[str, LabelState]


class Deployment(TypedDict):
    """What a fleet should serve of a model, and how far it does."""

    fleet: str
    model: str
    revision: int
    versions: list[int]
    labels: Mapping[str, int]
    policy: Mapping[str, Any]
    keep_previous: int
    unlabelled_version: int | None
    status: DeploymentStatus
    rollout: Rollout | None
    updated_at: str
    updated_by: str


class Started(TypedDict, total=False):
    """The answer to a write of desired state: a rollout, nothing to change, or a dry run's plan."""

    changed: bool
    rollout: Rollout
    revision: int
    warnings: list[str]


class Revision(TypedDict):
    """One numbered change of a fleet's desired state."""

    fleet: str
    revision: int
    parent: int
    kind: str
    actor: str
    reason: str
    created_at: str
    changes: Mapping[str, Any]


class Readiness(TypedDict):
    """Whether callers can be sent somewhere, and why."""

    ready: bool
    sentence: str
    servers_serving: NotRequired[int]
    servers_total: NotRequired[int]
    last_seen_at: NotRequired[str | None]


class Resolved(TypedDict):
    """Where a label points, and who serves that."""

    model: str
    label: str
    version: int
    revision: int
    servers_serving: int
    servers_total: int
    since: str
    moving: bool  # a rollout has yet to bring it to every server
    servers: Mapping[str, int]  # by version that it answers with: on how many


class Answered(TypedDict):
    """That some servers answered a label with a version; `until` is null while they do."""

    version: int
    since: str
    until: str | None
    servers: list[str]
    spans: list[Mapping[str, Any]]
    revision: int | None
    kind: str
    actor: str
    reason: str
    rollout: str


class Event(TypedDict):
    """One record of the journal; what it does not concern is left out."""

    seq: int
    kind: str
    at: str
    actor: str
    fleet: NotRequired[str]
    model: NotRequired[str]
    server: NotRequired[str]
    rollout: NotRequired[str]
    revision: NotRequired[int]
    reason: NotRequired[str]
    data: NotRequired[Mapping[str, Any]]


class Token(TypedDict):
    """A token, without its secret."""

    name: str
    role: str
    kind: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewToken(Token):
    """A token at its creation, the only time that the secret is told."""

    token: str


class ApiVersion(TypedDict):
    """Which control plane answers."""

    version: str
