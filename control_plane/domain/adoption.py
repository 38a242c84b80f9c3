"""What runs on a server, as deployments: what becomes desired when somebody else's config is taken.

Only what can be seen: versions by their status, labels whose names we knew to ask for.
"""

from collections.abc import Mapping

from control_plane.domain.model_plan import ACTIVE, COMING
from control_plane.domain.observed import Observed
from control_plane.domain.revision import Deployment, Specific
from control_plane.domain.state import MARKER_PREFIX, State
from control_plane.domain.steps import State as Deployments

Head = Mapping[str, Deployment]


def differences(head: Head, observed: Observed) -> Deployments:
    """Return the deployments that differ from what should be served; None where nothing is."""
    seen = {name: _seen(head.get(name), name, observed) for name in {*head, *observed.models}}
    return {name: one for name, one in sorted(seen.items()) if one != head.get(name)}


def _seen(before: Deployment | None, name: str, observed: Observed) -> Deployment | None:
    states = observed.models.get(name, {})
    versions = frozenset(v for v, one in states.items() if one.state is State.AVAILABLE)
    if not versions:
        return None
    labels = {
        label: version
        for label, version in observed.labels.get(name, {}).items()
        if version in versions and not label.startswith(MARKER_PREFIX)
    }
    if before and (before.versions, dict(before.labels)) == (versions, labels):
        return before
    keep = before.keep_previous if before else Deployment(name, versions).keep_previous
    return Deployment(name, versions, labels, Specific(), keep)


def against(head: Head, changes: Deployments, observed: Observed) -> str:
    """Why what is seen cannot be taken up now; "" if nothing speaks against it."""
    moving = sorted(
        f"{name} {version} is {one.state.name}"
        for name, versions in observed.models.items()
        for version, one in versions.items()
        if one.state in ACTIVE and (one.state in COMING or one.state is State.UNLOADING)
    )
    if moving:
        return moving[0]
    if head and not any({**head, **changes}.values()):
        return "nothing is served there, and that is not made the fleet's desired state"
    return ""
