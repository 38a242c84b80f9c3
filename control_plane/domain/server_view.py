"""What the planner sees of each model on a server; models that are right need no view."""

from collections.abc import Iterable, Mapping

from control_plane.domain.assignment import Assignment
from control_plane.domain.model_plan import ACTIVE, Ground, View
from control_plane.domain.observed import Instant, Observed, Presence, VersionSeen
from control_plane.domain.quarantine import since
from control_plane.domain.state import ModelConfig, State

Storage = Mapping[str, Presence]
_LOADING, _AVAILABLE, _END = State.LOADING, State.AVAILABLE, State.END  # asked 10,000 times a pass
_NOTHING: Mapping[int, VersionSeen] = {}


def steady_models(assignment: Assignment, observed: Observed) -> dict[str, ModelConfig]:
    """The models that are as they should be: most of them, mostly, so found without a view."""
    verified = observed.verified
    if verified is None or verified.marker is None or observed.marker_gone:
        return {}
    wanted, models = assignment.models, observed.models
    return {
        name: held
        for name, held in verified.config.models.items()
        if (want := wanted.get(name)) is not None
        and held.versions == want.versions
        and held.labels == want.labels
        and held.base_path == want.base_path
        and _settled(held.versions, models.get(name, _NOTHING))
    }


def _settled(versions: frozenset[int], seen: Mapping[int, VersionSeen]) -> bool:
    """Whether these are AVAILABLE and all others END."""
    there = 0
    for version, one in seen.items():
        if one.state is _AVAILABLE and version in versions:
            there += 1
        elif one.state is not _END or version in versions:
            return False
    return there == len(versions)


def views_of(
    assignment: Assignment,
    observed: Observed,
    storage: Storage | None,
    now: Instant,
    steady: Mapping[str, ModelConfig],
) -> dict[str, View]:
    """Return a view of every model that is wanted, held or known there, but for steady ones."""
    held = _config(assignment, observed)
    names = {*assignment.models, *observed.models, *held}.difference(steady)
    ground = Ground(
        now=now,
        traits=assignment.traits,
        loading=_loads(observed, names),
        missing=_gone(held, storage) if storage else "",
        reserved=_reserved(assignment),
        sent_at=observed.verified.at if observed.verified else 0.0,
        claimed=observed.verified is not None,
    )
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
            suspects=since(observed.suspects.get(name, {}), assignment.taken_over_at),
        )
        for name in sorted(names)
    }


def _config(assignment: Assignment, observed: Observed) -> Mapping[str, ModelConfig]:
    """The running config: ours while it is verified, else what seems to be there."""
    if observed.verified:
        return observed.verified.config.models
    seen = ((name, _held(assignment, observed, name)) for name in observed.models)
    return {name: one for name, one in seen if one}


def _gone(held: Mapping[str, ModelConfig], storage: Storage) -> str:
    """The first base path of the running config that does not exist; "" if none is known of."""
    gone = (
        held[name].base_path
        for name in sorted(held)
        if name in storage and storage[name].base_path is False
    )
    return next(gone, "")


def _loads(observed: Observed, names: Iterable[str]) -> bool:
    """Whether something is LOADING; these are all the models of which something may be."""
    return any(
        one.state is _LOADING
        for name in names
        for one in observed.models.get(name, _NOTHING).values()
    )


def _reserved(assignment: Assignment) -> str:
    """The first model whose rollout stands between load and verify."""
    models = assignment.models.items()
    return min((name for name, want in models if want.moving or want.urgent), default="")


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
