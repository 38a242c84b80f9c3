"""What the planner sees of each model on a server; models that are right need no view."""

from collections.abc import Mapping

from control_plane.domain.assignment import Assignment
from control_plane.domain.model_plan import ACTIVE, Ground, View
from control_plane.domain.observed import Instant, Observed, Presence
from control_plane.domain.state import ModelConfig, State

Storage = Mapping[str, Presence]


def steady_models(assignment: Assignment, observed: Observed) -> dict[str, ModelConfig]:
    """The models that are as they should be: most of them, mostly, so found without a view."""
    verified = observed.verified
    if verified is None or verified.marker is None or observed.marker_gone:
        return {}
    found = {}
    for name, held in verified.config.models.items():
        want, seen = assignment.models.get(name), observed.models.get(name, {})
        if (
            want is not None
            and (held.versions, held.base_path) == (want.versions, want.base_path)
            and held.labels == want.labels
            and all(version in seen for version in held.versions)
            and all(
                one.state is (State.AVAILABLE if version in held.versions else State.END)
                for version, one in seen.items()
            )
        ):
            found[name] = held
    return found


def views_of(
    assignment: Assignment,
    observed: Observed,
    storage: Storage | None,
    now: Instant,
    steady: Mapping[str, ModelConfig],
) -> dict[str, View]:
    """Return a view of every model that is wanted, held or known there, but for steady ones."""
    held = _config(assignment, observed)
    ground = _ground(assignment, observed, _gone(held, storage), now)
    verified = observed.verified
    marked = verified is not None and not observed.marker_gone
    marked = marked and (not held or (verified is not None and verified.marker is not None))
    return {
        name: View(
            name=name,
            want=assignment.models.get(name),
            held=held.get(name),
            labels=_labels(observed, name),
            proven=observed.proven.get(name, {}),
            seen=observed.models.get(name, {}),
            ground=ground,
            presence=storage.get(name) if storage is not None else None,
            marked=marked,
            added=observed.added.get(name, {}),
            dropped=observed.dropped.get(name, {}),
            failures=observed.failures.get(name, {}),
        )
        for name in sorted({*assignment.models, *observed.models, *held} - set(steady))
    }


def _config(assignment: Assignment, observed: Observed) -> Mapping[str, ModelConfig]:
    """The running config: ours while it is verified, else what seems to be there."""
    if observed.verified:
        return observed.verified.config.models
    seen = ((name, _held(assignment, observed, name)) for name in observed.models)
    return {name: one for name, one in seen if one}


def _gone(held: Mapping[str, ModelConfig], storage: Storage | None) -> str:
    """The first base path of the running config that does not exist; "" if none is known of."""
    gone = (
        held[name].base_path
        for name in sorted(held)
        if storage and name in storage and storage[name].base_path is False
    )
    return next(gone, "")


def _ground(assignment: Assignment, observed: Observed, gone: str, now: Instant) -> Ground:
    moving = (n for n, want in sorted(assignment.models.items()) if want.moving or want.urgent)
    return Ground(
        now=now,
        traits=assignment.traits,
        loading=any(one.state is State.LOADING for one in observed.statuses()),
        missing=gone,
        reserved=next(moving, ""),
        sent_at=observed.verified.at if observed.verified else 0.0,
        claimed=observed.verified is not None,
    )


def _labels(observed: Observed, name: str) -> Mapping[str, int]:
    if observed.verified is None:
        return observed.labels.get(name, {})
    model = observed.verified.config.models.get(name)
    return model.labels if model else {}


def _held(assignment: Assignment, observed: Observed, name: str) -> ModelConfig | None:
    """What a config that we did not write seems to hold of a model: what is not END."""
    want = assignment.models.get(name)
    alive = frozenset(
        version for version, one in observed.models[name].items() if one.state in ACTIVE
    )
    return ModelConfig(want.base_path, alive) if want and alive else None
