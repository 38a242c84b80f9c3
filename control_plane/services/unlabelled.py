"""What a change means for callers that name neither a label nor a version."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from control_plane.domain.promotion import unlabelled_version
from control_plane.domain.steps import State

Callers: TypeAlias = Mapping[str, tuple[int | None, int | None, int | None]]


def callers_of(before: State, after: State) -> Callers:
    """Return by model which version callers without a label get before, during and after."""

    def one(model: str) -> tuple[int | None, int | None, int | None]:
        old, new = unlabelled_version(before.get(model)), unlabelled_version(after.get(model))
        return old, max((v for v in (old, new) if v is not None), default=None), new

    return {model: one(model) for model in after}


def callers_told(callers: Callers) -> Iterable[str]:
    """Say what callers without a label would notice."""
    for model, (old, during, new) in sorted(callers.items()):
        if old is not None and during != old:
            yield f"callers of {model} without a label go from {old} to {during} while it is loaded"
        elif new is not None and new != during:
            yield f"callers of {model} without a label go from {during} to {new}"
