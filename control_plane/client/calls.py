"""Every call of the API, by noun: pure functions from what is wanted to what is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from control_plane.client.answers import (
    Answered,
    ApiVersion,
    Deployment,
    Event,
    Fleet,
    Model,
    NewToken,
    Paged,
    Resolved,
    Revision,
    Rollout,
    Scan,
    Server,
    SignatureDiff,
    Started,
    Token,
    Version,
)
from control_plane.client.call import API, Call, given, path_of


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server to register; without a name it gets one from its address."""

    address: str
    name: str = ""
    rest_address: str = ""
    take_over: bool = False
    memory_bytes: int | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """A fleet to create."""

    name: str
    description: str = ""
    path_map: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""
    take_over: str = ""
    max_unavailable: int = 0
    boot_config_dir: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What a fleet should serve of a model."""

    versions: Sequence[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    policy: Mapping[str, Any] | None = None
    keep_previous: int | None = None
    reason: str = ""
    force: bool = False
    supersede: bool = False
    allow_breaking: bool = False
    break_glass: str = ""
    plan_hash: str = ""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A label to move forward: to a version, or to where another label points."""

    version: int | None = None
    from_label: str = ""
    label: str = "stable"
    expect: int | None = None
    supersede: bool = False
    allow_breaking: bool = False
    force: bool = False
    break_glass: str = ""
    plan_hash: str = ""
    strategy: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rollback:
    """A label to move back; without a target, to the version before."""

    label: str = "stable"
    to_version: int | None = None
    to_revision: int | None = None
    to_time: str = ""
    only: bool = False
    plan_hash: str = ""
    reason: str = ""


def models(q: str = "") -> Call[Paged[Model]]:
    """List models."""
    return Call("GET", path_of("models"), query=given(q=q))


def model(name: str) -> Call[Model]:
    """Show a model."""
    return Call("GET", path_of("models", name))


def add_model(name: str, base_path: str, **words: Any) -> Call[Model]:
    """Register a model; `words` are description, owner, tags, force."""
    body = {"name": name, "base_path": base_path, **given(**words)}
    return Call("POST", path_of("models"), body=body)


def delete_model(name: str) -> Call[None]:
    """Delete a model that no fleet serves."""
    return Call("DELETE", path_of("models", name))


def versions(model: str) -> Call[Paged[Version]]:
    """List a model's versions, the highest first."""
    return Call("GET", path_of("models", model, "versions"))


def version(model: str, number: int) -> Call[Version]:
    """Show a version."""
    return Call("GET", path_of("models", model, "versions", number))


def add_version(model: str, number: int, **words: Any) -> Call[Version]:
    """Register a version; `words` are description, tags, metrics, source, force."""
    body = {"version": number, **given(**words)}
    return Call("POST", path_of("models", model, "versions"), body=body)


def scan(model: str) -> Call[Scan]:
    """Register every version that lies under the model's base path."""
    return Call("POST", path_of("models", model, "versions:scan"))


def delete_version(model: str, number: int) -> Call[None]:
    """Forget a version that nothing serves."""
    return Call("DELETE", path_of("models", model, "versions", number))


def signatures(model: str, number: int) -> Call[Mapping[str, Any]]:
    """Show what a version takes and gives back."""
    return Call("GET", path_of("models", model, "versions", number, "signatures"))


def signature_diff(model: str, before: int, after: int) -> Call[SignatureDiff]:
    """Say what callers of `before` would notice of `after`."""
    path = path_of("models", model, "versions", after, "signatures:diff")
    return Call("GET", path, query={"against": before})


def sample(model: str, number: int, signature: str = "") -> Call[Mapping[str, Any]]:
    """Make a valid `:predict` body."""
    path = path_of("models", model, "versions", number, "signatures:sample")
    return Call("GET", path, query=given(signature=signature))


def fleets() -> Call[Paged[Fleet]]:
    """List fleets."""
    return Call("GET", path_of("fleets"))


def fleet(name: str) -> Call[Fleet]:
    """Show a fleet."""
    return Call("GET", path_of("fleets", name))


def add_fleet(spec: FleetSpec) -> Call[Fleet]:
    """Create a fleet."""
    return Call("POST", path_of("fleets"), body=given(**asdict(spec)))


def delete_fleet(name: str) -> Call[None]:
    """Delete an empty fleet."""
    return Call("DELETE", path_of("fleets", name))


def servers(fleet: str) -> Call[Paged[Server]]:
    """List a fleet's servers."""
    return Call("GET", path_of("fleets", fleet, "servers"))


def server(fleet: str, name: str) -> Call[Server]:
    """Show a server."""
    return Call("GET", path_of("fleets", fleet, "servers", name))


def add_server(fleet: str, spec: ServerSpec) -> Call[Server]:
    """Register a server."""
    return Call("POST", path_of("fleets", fleet, "servers"), body=given(**asdict(spec)))


def change_server(fleet: str, name: str, **changes: Any) -> Call[Server]:
    """Change a server: address, rest_address, take_over, memory_bytes, flags."""
    return Call("PATCH", path_of("fleets", fleet, "servers", name), body=given(**changes))


def remove_server(fleet: str, name: str) -> Call[None]:
    """Forget a server; it keeps serving what it serves."""
    return Call("DELETE", path_of("fleets", fleet, "servers", name))


def config(fleet: str, server: str = "") -> Call[Mapping[str, Any]]:
    """Show the config of a fleet or of one of its servers."""
    parts = ("fleets", fleet, "servers", server) if server else ("fleets", fleet)
    return Call("GET", path_of(*parts, "config"))


def status(fleet: str) -> Call[Mapping[str, Any]]:
    """Show servers, models, versions and their states."""
    return Call("GET", path_of("fleets", fleet, "status"))


def deployments(fleet: str) -> Call[Paged[Deployment]]:
    """List what a fleet should serve."""
    return Call("GET", path_of("fleets", fleet, "deployments"))


def deployment(fleet: str, model: str) -> Call[Deployment]:
    """Show what a fleet should serve of a model."""
    return Call("GET", path_of("fleets", fleet, "deployments", model))


def deploy(fleet: str, model: str, spec: DeploymentSpec) -> Call[Started]:
    """Say what a fleet should serve of a model."""
    body = {"versions": list(spec.versions), **given(**asdict(spec))}
    return Call("PUT", path_of("fleets", fleet, "deployments", model), body=body)


def retire(
    fleet: str, model: str, versions: Sequence[int], reason: str = "", plan_hash: str = ""
) -> Call[Started]:
    """Drop versions from a deployment."""
    body = {"versions": list(versions), **given(reason=reason, plan_hash=plan_hash)}
    return Call("POST", path_of("fleets", fleet, "deployments", f"{model}:retire"), body=body)


def undeploy(fleet: str, model: str, reason: str = "", plan_hash: str = "") -> Call[Started]:
    """Serve nothing of a model any more."""
    path = path_of("fleets", fleet, "deployments", model)
    return Call("DELETE", path, query=given(reason=reason, plan_hash=plan_hash))


def promote(fleet: str, model: str, promotion: Promotion) -> Call[Started]:
    """Move a label forward."""
    path = path_of("fleets", fleet, "deployments", f"{model}:promote")
    return Call("POST", path, body=given(**asdict(promotion)))


def promote_group(fleet: str, items: Sequence[Mapping[str, Any]], **how: Any) -> Call[Started]:
    """Move labels of several models together; `items` hold model, label, version."""
    body = {"items": list(items), **given(**how)}
    return Call("POST", path_of("fleets", fleet, "promotions"), body=body)


def roll_back(fleet: str, model: str, rollback: Rollback) -> Call[Started]:
    """Move a label back."""
    path = path_of("fleets", fleet, "deployments", f"{model}:rollback")
    return Call("POST", path, body=given(**asdict(rollback)))


def resume_hold(fleet: str, model: str, **what: Any) -> Call[Mapping[str, Any]]:
    """Let anybody promote what was rolled back from; `what` is label, version, reason."""
    path = path_of("fleets", fleet, "deployments", f"{model}:resume-hold")
    return Call("POST", path, body=given(**what))


def history(fleet: str, model: str = "") -> Call[Paged[Revision]]:
    """List the revisions of a fleet, or those that changed one model."""
    parts = ("fleets", fleet, "deployments", model) if model else ("fleets", fleet)
    return Call("GET", path_of(*parts, "revisions"))


def revision(fleet: str, number: int) -> Call[Revision]:
    """Show a revision."""
    return Call("GET", path_of("fleets", fleet, "revisions", number))


def restore(fleet: str, number: int, **how: Any) -> Call[Started]:
    """Copy a fleet's whole state from an older revision; `how`: prune, force, plan_hash, reason."""
    return Call(
        "POST", path_of("fleets", fleet, "revisions", f"{number}:restore"), body=given(**how)
    )


def resolve(fleet: str, model: str, label: str) -> Call[Resolved]:
    """Say where a label points and who serves that."""
    return Call("GET", path_of("fleets", fleet, "models", model, "labels", label))


def predict(
    fleet: str, model: str, body: bytes, *, label: str = "", version: int | None = None
) -> Call[Mapping[str, Any]]:
    """Ask a model, in TensorFlow Serving's REST JSON; unlabelled without label and version."""
    parts: tuple[str | int, ...] = ("fleets", fleet, "models", model)
    if label:
        parts = (*parts, "labels", label)
    elif version is not None:
        parts = (*parts, "versions", version)
    *before, last = parts
    return Call("POST", path_of(*before, f"{last}:predict"), content=body, retried=False)


def rollouts(fleet: str = "", model: str = "", phase: str = "") -> Call[Paged[Rollout]]:
    """List rollouts, the newest first."""
    return Call("GET", path_of("rollouts"), query=given(fleet=fleet, model=model, phase=phase))


def rollout(rollout_id: str) -> Call[Rollout]:
    """Show a rollout."""
    return Call("GET", path_of("rollouts", rollout_id))


def evidence(rollout_id: str, media_type: str = "application/json") -> Call[Any]:
    """Show all that is known of a rollout; a page as text for `text/html`."""
    path = path_of("rollouts", f"{rollout_id}:evidence")
    return Call("GET", path, headers={"Accept": media_type})


def label_history(fleet: str, model: str, label: str, at: str = "") -> Call[Paged[Answered]]:
    """List which versions answered a label; with a time, what answered then."""
    path = path_of("fleets", fleet, "models", model, "labels", label, "history")
    return Call("GET", path, query=given(at=at))


def steer(rollout_id: str, verb: str, reason: str = "", break_glass: str = "") -> Call[Started]:
    """Pause, resume, abort, approve, reject, retry or hurry a rollout."""
    body = given(reason=reason, break_glass=break_glass)
    return Call("POST", path_of("rollouts", f"{rollout_id}:{verb}"), body=body)


def events(
    *, after: int | None = None, fleet: str = "", model: str = "", kind: str = ""
) -> Call[Paged[Event]]:
    """List events after a sequence number, the oldest first."""
    query = given(after=after, fleet=fleet, model=model, kind=kind)
    return Call("GET", path_of("events"), query=query)


def newest_events(**wanted: str) -> Call[Paged[Event]]:
    """List events, the newest first, by fleet, model, server, actor, kind, since, until."""
    return Call("GET", path_of("events:newest"), query=given(**wanted))


def tokens() -> Call[Paged[Token]]:
    """List tokens, without their secrets."""
    return Call("GET", path_of("tokens"))


def add_token(
    name: str, role: str, expires_in_s: float | None = None, kind: str = ""
) -> Call[NewToken]:
    """Create a token of a person, or of a service."""
    body = {"name": name, "role": role, **given(expires_in_s=expires_in_s, kind=kind)}
    return Call("POST", path_of("tokens"), body=body)


def revoke_token(name: str) -> Call[Any]:
    """Revoke a token."""
    return Call("DELETE", path_of("tokens", name))


def api_version() -> Call[ApiVersion]:
    """Say which control plane answers."""
    return Call("GET", "/version")


def ready() -> Call[Any]:
    """Ask whether the control plane is ready to work."""
    return Call("GET", "/readyz", retried=False)


def shutdown(key: str) -> Call[Any]:
    """End the control plane, where that is switched on."""
    return Call("POST", f"{API}/admin:shutdown", headers={"X-Shutdown-Key": key})
