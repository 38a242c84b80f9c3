"""Decides what a request makes of a deployment: the next one, or `NothingToChange`, or an error.

Nothing here knows of servers. A version stays in a deployment while a label points at it, while it
is one of the `keep_previous` last versions on which `stable` was verified, or while it was listed
and no label ever pointed at it; a version that was rolled back from stays for a label only.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from control_plane.domain.errors import (
    ExpectationFailed,
    FieldInvalid,
    NotFound,
    NothingToRollBackTo,
    StillInUse,
    VersionUnknown,
)
from control_plane.domain.revision import All, Deployment, Latest, Policy, Specific
from control_plane.domain.steps import State

STABLE: Final = "stable"  # the label whose history `keep_previous` goes by


@dataclass(frozen=True, slots=True)
class Verification:
    """A label was seen answering with this version on every server that counted."""

    version: int
    at: datetime
    rolled_back_at: datetime | None = None  # when somebody rolled back from it, after `at`


History = Sequence[Verification]  # of one label, newest first


@dataclass(frozen=True, slots=True)
class NothingToChange:
    """The request asks for what is already so."""

    deployment: Deployment | None


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What a PUT says; None leaves it as it is."""

    versions: frozenset[int]
    labels: Mapping[str, int] = field(default_factory=dict)
    policy: Policy | None = None
    keep_previous: int | None = None
    supersede: bool = False
    force: bool = False
    allow_breaking: bool = False  # callers of its labels may notice it in the signatures


@dataclass(frozen=True, slots=True)
class PromoteRequest:
    """Where a label should go: to a version, or to where another label points."""

    label: str = STABLE
    version: int | None = None
    from_label: str = ""
    expect: int | None = None  # where the label must point now
    strategy: str = ""  # "": the model's default
    supersede: bool = False
    force: bool = False
    allow_breaking: bool = False  # callers of the label may notice it in the signatures


@dataclass(frozen=True, slots=True)
class RollbackRequest:
    """Which label goes back, and where to; without a target, to where it was verified before."""

    label: str = STABLE
    to_version: int | None = None
    to_revision: int | None = None
    to_time: datetime | None = None
    only: bool = False  # leave alone what was promoted together with it

    @property
    def has_target(self) -> bool:
        """Whether it says where to go."""
        return (self.to_version, self.to_revision, self.to_time) != (None, None, None)


def deployed(
    current: Deployment | None, model: str, request: DeployRequest
) -> Deployment | NothingToChange:
    """Return the deployment that a PUT asks for: exactly its versions and its labels.

    Raises:
        FieldInvalid: no version, or a label on a version that is not in the deployment.
    """
    keep = request.keep_previous
    if keep is None:
        keep = current.keep_previous if current else 1
    policy = request.policy or (current.policy if current else Specific())
    following = Deployment(model, request.versions, dict(request.labels), policy, keep)
    _check(following)
    return _or_nothing(current, following)


def _check(deployment: Deployment) -> None:
    if not deployment.versions:
        raise FieldInvalid("versions", "at least one version", hint="undeploy takes the model away")
    if deployment.keep_previous < 0:
        raise FieldInvalid("keep_previous", "not a number of versions")
    for label, version in sorted(deployment.labels.items()):
        if version not in deployment.versions:
            held = ", ".join(map(str, sorted(deployment.versions)))
            text = f"version {version} is not in the deployment (it holds {held})"
            raise FieldInvalid(f"labels.{label}", text)


def _or_nothing(current: Deployment | None, following: Deployment) -> Deployment | NothingToChange:
    return NothingToChange(current) if following == current else following


def promoted(
    current: Deployment | None,
    model: str,
    request: PromoteRequest,
    history: History,
    canaries: Collection[str] = (),
) -> Deployment | NothingToChange:
    """Return the deployment with the label, and those for trying out, moved.

    `history` is that of `stable`.

    Raises:
        NotFound: the model is not deployed.
        ExpectationFailed: the label does not point where the request expected.
        FieldInvalid: no version, or `from_label` points nowhere.
    """
    current = present(current, model)
    actual = current.labels.get(request.label)
    if request.expect is not None and request.expect != actual:
        where = f"version {actual}" if actual is not None else "no version"
        text = f"{request.label} points at {where}, not at version {request.expect}"
        raise ExpectationFailed(text, label=request.label, expected=request.expect, actual=actual)
    version = _asked(current, request)
    if actual == version:
        return NothingToChange(current)
    return moved(current, (request.label, *canaries), version, history)


def _asked(current: Deployment, request: PromoteRequest) -> int:
    if request.version is not None:
        if request.from_label:
            raise FieldInvalid("from_label", "give either a version or a label to take it from")
        return request.version
    if not request.from_label:
        raise FieldInvalid("version", "say which version, or from which label to take it")
    if request.from_label not in current.labels:
        raise FieldInvalid("from_label", f"{request.from_label} points at no version")
    return current.labels[request.from_label]


def present(current: Deployment | None, model: str) -> Deployment:
    """Return the deployment.

    Raises:
        NotFound: there is none.
    """
    if current is None:
        raise NotFound(f"{model} is not deployed on this fleet", hint="deploy it first")
    return current


def moved(
    current: Deployment, labels: Collection[str], version: int, history: History
) -> Deployment:
    """Return the deployment with labels on another version, and what nothing holds dropped."""
    following = replace(current, labels={**current.labels, **dict.fromkeys(labels, version)})
    return replace(following, versions=kept(current, following, history))


def kept(current: Deployment, following: Deployment, history: History) -> frozenset[int]:
    """Return what the next deployment holds loaded; nothing is loaded only to be kept."""
    labelled = frozenset(following.labels.values())
    bad = rolled_back_from(history)
    stable = following.labels.get(STABLE)
    earlier = (v for v in _versions(history) if v not in bad and v != stable)
    previous = tuple(earlier)[: following.keep_previous]
    passed = {*current.labels.values(), *_versions(history)}
    listed = current.versions - passed
    return labelled | (current.versions & frozenset(previous)) | listed


def _versions(history: History) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one.version for one in history))


def rolled_back_from(history: History) -> frozenset[int]:
    """Return the versions that somebody rolled back from since they were last verified."""
    last = {one.version: one.at for one in reversed(history)}
    return frozenset(
        one.version
        for one in history
        if one.rolled_back_at is not None and one.rolled_back_at >= last[one.version]
    )


def rollback_target(history: History, current: int | None, registered: Collection[int]) -> int:
    """Return where the label was verified last before where it is now.

    Raises:
        NothingToRollBackTo: no such version is left.
    """
    bad = rolled_back_from(history)
    for version in _versions(history):
        if version != current and version not in bad and version in registered:
            return version
    raise NothingToRollBackTo(hint="name a version with to_version")


def rolled_back(
    base: Deployment, label: str, version: int, left: Iterable[int], history: History
) -> Deployment:
    """Return the deployment with the label back; `left`, what it leaves, stays for a label only.

    `history` is that of `stable`.
    """
    leaving = frozenset(left)
    following = replace(base, labels={**base.labels, label: version})
    trusted = [one for one in history if one.version not in leaving]
    held = kept(base, following, trusted) - leaving
    return replace(following, versions=held | frozenset(following.labels.values()))


def retired(
    current: Deployment | None, model: str, versions: frozenset[int]
) -> Deployment | NothingToChange:
    """Return the deployment without these versions; those that it does not hold are no change.

    Raises:
        NotFound: the model is not deployed.
        StillInUse: a label points at one of them.
        FieldInvalid: nothing would be left.
    """
    current = present(current, model)
    if held := {name: v for name, v in sorted(current.labels.items()) if v in versions}:
        text = ", ".join(f"{label} points at version {v}" for label, v in held.items())
        raise StillInUse(text, hint="move the label first", labels=held)
    following = replace(current, versions=current.versions - versions)
    _check(following)
    return _or_nothing(current, following)


def undeployed(current: Deployment | None, model: str) -> dict[str, Deployment | None]:
    """Return the change that takes the model away.

    Raises:
        NotFound: it is not deployed.
    """
    return {present(current, model).model: None}


def restored(
    head: Mapping[str, Deployment], past: Mapping[str, Deployment], *, prune: bool
) -> dict[str, Deployment | None]:
    """Return the changes that bring the past back; newer models stay unless `prune`."""
    back: dict[str, Deployment | None] = {
        model: one for model, one in past.items() if head.get(model) != one
    }
    gone = set(head) - set(past) if prune else set()
    return back | dict.fromkeys(sorted(gone))


def reverted(state_from: State, models: Iterable[str]) -> dict[str, Deployment | None]:
    """Return the changes that take these models back to an older state."""
    return {model: state_from.get(model) for model in models}


def expanded(
    current: Deployment,
    registered: Collection[int],
    history: History,
    resumed: Collection[int] = (),
) -> Deployment | NothingToChange:
    """Return the deployment with what its policy takes, joined with what is labelled or kept.

    A number above `stable` that is not in the deployment yet waits for a person unless `auto_load`;
    one that was rolled back from does not come back unless it was `resumed`, as callers without a
    label would get it.
    """
    if isinstance(current.policy, Specific):
        return NothingToChange(current)
    stable = current.labels.get(STABLE)
    allowed = set(registered) - (rolled_back_from(history) - set(resumed))
    if not current.policy.auto_load and stable is not None:
        allowed = {v for v in allowed if v <= stable or v in current.versions}
    taken = _taken(current.policy, allowed)
    good = [v for v in _versions(history) if v not in rolled_back_from(history) and v != stable]
    held = current.versions & {*good[: current.keep_previous]}
    versions = frozenset(taken) | frozenset(current.labels.values()) | held
    return _or_nothing(current, replace(current, versions=versions or current.versions))


def _taken(policy: Latest | All, registered: Collection[int]) -> set[int]:
    match policy:
        case Latest(n=n):
            return set(sorted(registered, reverse=True)[:n])
        case All():
            return set(registered)


def check_registered(model: str, wanted: Iterable[int], registered: Collection[int]) -> None:
    """Let pass what is registered.

    Raises:
        VersionUnknown: something is not; names what is.
    """
    if unknown := sorted(set(wanted) - set(registered)):
        known = sorted(registered)
        listed = ", ".join(map(str, known)) or "none"
        text = f"{model} has no version {', '.join(map(str, unknown))}; registered: {listed}"
        raise VersionUnknown(text, model=model, unknown=unknown, known=known)


def unlabelled_version(deployment: Deployment | None) -> int | None:
    """Return the version that callers without a label get: the highest that is loaded."""
    return max(deployment.versions) if deployment else None
