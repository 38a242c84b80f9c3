"""Whether callers may be sent to a server: it answers every label as it should by now.

While a rollout of a model is live, whatever its labels answer will do, and what it brings for the
first time is not asked for: no rollout takes servers from their callers. Who comes back after it is
over is not ready until it was caught up.
"""

from control_plane.domain.fleet import Server
from control_plane.domain.revision import Deployment
from control_plane.domain.steps import StepTarget
from control_plane.services.sight import Sight


def away(sight: Sight, server: Server) -> str:
    """Say why callers are not sent to a server, whatever it serves; "" where they are."""
    if not server.taken_over:
        return "nobody has taken it over"
    if server.drain is not None:
        reason = f": {server.drain.reason}" if server.drain.reason else ""
        return f"{server.drain.actor} drained it{reason}"
    if not sight.of(server.name).reachable:
        return "it does not answer"
    return "" if server.joined else "it has not had its whole config yet"


def behind(sight: Sight, server: str, model: str, label: str = "") -> str:
    """Say what a server does not answer of a model as it should by now; "" when it does."""
    target, before = sight.targets_of(server).get(model), _before(sight, model)
    if target is None:
        return f"{model} is not served"
    usual = before.labels if before else target.labels
    live = sight.rollout_of(model) is not None
    labels = [label] if label else [one for one in sorted(target.labels) if one in usual]
    if labels:
        found = (_astray(sight, server, (model, one), None if live else target) for one in labels)
        return next((why for why in found if why), "")
    seen = sight.of(server)
    versions = seen.models.get(model, {}) if live else target.versions
    loaded = any(seen.available(model, version) for version in versions)
    return "" if loaded else f"{model} is not loaded"


def _before(sight: Sight, model: str) -> Deployment | None:
    """What was served before the live rollout of a model; None where none is live."""
    found = (before.get(model) for one, before, _ in sight.journeys if model in one.models)
    return next(found, None)


def _astray(sight: Sight, server: str, what: tuple[str, str], target: StepTarget | None) -> str:
    model, label = what
    version = sight.labels(server, model).get(label)
    if version is None:
        return f"{model} has no label {label} there yet"
    if not sight.of(server).available(model, version):
        return f"{model} {version} is not loaded, and {label} points at it"
    if target is not None and target.labels.get(label) != version:
        return f"{label} of {model} is on {version} there, not on {target.labels.get(label)}"
    return ""
