"""Errors, sorted by what the receiver can do about them.

ControlPlaneError
├─ Rejected   the caller must change the request: Invalid · NotFound · Conflict · Denied
├─ Transient  try again: ServerUnreachable · DeadlineExpired · StoreBusy · StoreFull · LeaseLost
└─ Terminal   a person must act: ConfigRefused · ArtifactBroken · SchemaMismatch

A class docstring is the default message; `code`, the class name in kebab case, is part of the API.
"""

import re
from typing import Any, ClassVar


class ControlPlaneError(Exception):
    """Something went wrong in the control plane."""

    code: ClassVar[str] = "control-plane-error"

    def __init_subclass__(cls) -> None:
        """Derive the stable code from the class name."""
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, message: str = "", *, hint: str = "", **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        self.details = details
        super().__init__(self.message)


class Rejected(ControlPlaneError):
    """The request cannot be carried out as it is; change it."""


class Invalid(Rejected):
    """The request is not valid."""


class FieldInvalid(Invalid):
    """A field of the request is not valid."""

    code = "invalid"

    def __init__(self, field: str, message: str, *, hint: str = "") -> None:
        super().__init__(
            f"{field}: {message}", hint=hint, errors=[{"field": field, "message": message}]
        )
        self.field = field
        self.text = message  # without the field's name


class VersionUnknown(Invalid):
    """The version is not registered."""


class ArtifactMissing(Invalid):
    """The version's files cannot be seen or are not complete."""


class ArtifactChanged(Invalid):
    """The version's files are not those that were registered."""


class SignatureBreaking(Invalid):
    """The new version's signatures would break callers of the label."""


class IdempotencyKeyReused(Invalid):
    """The Idempotency-Key was used before with another body."""


class PredictionRefused(Invalid):
    """The model server refused the request."""


class NotFound(Rejected):
    """There is no such thing."""


class Conflict(Rejected):
    """The request is in conflict with the present state."""


class AlreadyExists(Conflict):
    """Something of this name exists already."""


class StillInUse(Conflict):
    """It is still deployed, labelled or loaded, so it cannot be removed."""


class RevisionConflict(Conflict):
    """Another change of this model came first; read the head revision and try again."""


class RolloutInFlight(Conflict):
    """A rollout of this deployment is live; wait for it, supersede it, abort it or roll back."""


class ExpectationFailed(Conflict):
    """The label does not point where the request expected."""


class NothingToRollBackTo(Conflict):
    """There is no earlier version on which the label was verified."""


class PhaseForbids(Conflict):
    """The rollout is not in a phase that allows this."""


class ServersDiffer(Conflict):
    """The servers of the fleet do not serve the same, so none of it can be taken for all."""


class StillLoading(Conflict):
    """A server is still loading what is asked about, so what it shows is not yet what it serves."""


class NotOurs(Conflict):
    """Nobody took this server over, so no config of ours goes there; take it over first."""


class PreconditionFailed(Conflict):
    """It changed since it was read (If-Match)."""


class PlanChanged(PreconditionFailed):
    """What would be done now is not what was planned; look at the new plan."""


class Frozen(Rejected):
    """A freeze window is open; wait for its end, or break the glass and say why."""


class Denied(Rejected):
    """This token does not give the right to do that."""


class Held(Denied):
    """It was rolled back from; nothing automatic promotes it until a person resumes."""


class GateBlocked(Denied):
    """A gate is in the way that this caller may not pass."""


class NotAuthenticated(Denied):
    """A valid bearer token is needed."""


class Transient(ControlPlaneError):
    """It did not work this time; try again."""


class ServerUnreachable(Transient):
    """The model server does not answer."""


class DeadlineExpired(Transient):
    """The answer did not come in time; the effect is unknown."""


class StoreBusy(Transient):
    """The database is busy; try again."""


class StoreFull(StoreBusy):
    """The database's disk is full; nothing was written. Make room, then try again."""


class Starting(Transient):
    """The control plane has only begun to start; try again in a moment."""


class NotReady(Transient):
    """Callers are not to be sent there now."""


class LeaseLost(Transient):
    """Another process now reconciles this fleet."""


class Terminal(ControlPlaneError):
    """It will not succeed until a person acts."""


class ConfigRefused(Terminal):
    """The model server refused the config."""


class ArtifactBroken(Terminal):
    """The SavedModel is broken."""


class SchemaMismatch(Terminal):
    """The database's schema is not the one that this program needs; run `tfsctl db upgrade`."""


class PredictionFailed(Terminal):
    """The model failed to answer."""
