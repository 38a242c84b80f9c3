"""Which labels were promoted together, so that a rollback takes all of them back."""

from collections.abc import Mapping

from control_plane.domain.revision import Deployment, Kind
from control_plane.domain.rollout import Phase, Rollout
from control_plane.domain.steps import labels_to_verify
from control_plane.services.changes import Ground
from control_plane.services.transitions import around
from control_plane.store import rollouts
from control_plane.store.database import Page, Session


async def together_with(
    s: Session, ground: Ground, model: str, label: str
) -> tuple[tuple[str, str], ...]:
    """Return (model, label) of what was promoted together with a label to where it is now.

    Only what still is where that promotion brought it; the label itself is left out.
    """
    here = ground.head.get(model)
    if here is None or label not in here.labels:
        return ()
    moved = await _last_moves(s, ground, (model, label, here.labels[label]))
    return tuple(
        (name, of)
        for name, of, version in moved
        if name != model and _points(ground.head, name, of) == version
    )


async def _last_moves(
    s: Session, ground: Ground, wanted: tuple[str, str, int]
) -> tuple[tuple[str, str, int], ...]:
    """What the rollout moved that brought a label to its version; () if that was no group's."""
    page = Page()
    while True:
        found = await rollouts.rollouts(s, page, fleet=ground.fleet.name, model=wanted[0])
        for one in found.items:
            if not (one.phase.live or one.phase is Phase.SUCCEEDED):
                continue
            moves = labels_to_verify(one, *await around(s, one))
            if wanted in moves:
                return _of_group(one, moves)
        if not found.next:
            return ()
        page = Page(after=found.next)


def _of_group(
    rollout: Rollout, moves: tuple[tuple[str, str, int], ...]
) -> tuple[tuple[str, str, int], ...]:
    """Labels for trying out move along, but are nobody's to take back."""
    if rollout.kind is not Kind.PROMOTE or len(rollout.models) < 2:
        return ()
    return tuple(one for one in moves if rollout.label in ("", one[1]))


def _points(head: Mapping[str, Deployment], model: str, label: str) -> int | None:
    return head[model].labels.get(label) if model in head else None
