"""What a look asks of a server in the situation that it is in, and learning from the answer."""

from dataclasses import replace
from math import ceil

from control_plane.domain import evidence
from control_plane.domain.assignment import Traits
from control_plane.domain.evidence import Questions, answered
from control_plane.domain.observed import Look
from control_plane.reconcile import observe
from control_plane.reconcile.world import Tracked, World

Labels = tuple[tuple[str, str], ...]  # model and label
MOST_LOOKS = 3  # in a row: one that lost the marker is followed by a full one


async def see(world: World, it: Tracked, labels: Labels = ()) -> None:
    """Look at a server and learn from it; look again, fully, if the look raised a doubt."""
    _hear(it)
    for _ in range(MOST_LOOKS):
        waiting, it.sweeps = it.sweeps, []
        asked = _questions(world, it, sweep=bool(waiting))
        asked = replace(asked, labels=tuple(dict.fromkeys((*asked.labels, *labels))))
        look = await observe.look(it.client, asked, world.now(), world.options.rpc_timeout_s)
        learn(it, look)
        for one in waiting:
            if not one.done():
                one.set_result(None)
        if not it.observed.reachable or it.observed.looked_at > 0:
            return


def learn(it: Tracked, look: Look) -> None:
    """Add a look to what is known of a server."""
    traits = it.assignment.traits if it.assignment else Traits()
    it.observed = evidence.learn(it.observed, look, traits.settle_s)


def _hear(it: Tracked) -> None:
    """Take the answers of calls that returned since the last look."""
    heard, it.answers = it.answers, []
    for intent in heard:
        it.observed = answered(it.observed, intent)


def _questions(world: World, it: Tracked, *, sweep: bool) -> Questions:
    observed, assigned = it.observed, it.assignment
    wanted = {name: one.labels for name, one in assigned.models.items()} if assigned else {}
    names = {*wanted, *observed.models}
    hot = (set(wanted) - set(observed.models)) | _moving(world, it) | _slice(world, it, names)
    if sweep or not observed.reachable:
        hot |= names
    owner = assigned.owner if assigned else ""
    asked = evidence.questions(observed, wanted, owner, frozenset(hot))
    if asked.full and observed.looked_at > 0 and _partly(it):
        keep = hot | (observed.intent.names_added if observed.intent else set())
        markers = tuple(one for one in asked.markers if one[1] != owner)
        return Questions(tuple(sorted(keep)), (), markers, full=False)
    return asked


def _partly(it: Tracked) -> bool:
    """Whether a full look would show no more than a short one.

    Nobody writes to a server that was not taken over, and a call that is still open may take long.
    """
    intent = it.observed.intent
    waits = intent is not None and intent.answer is None and bool(intent.names_added)
    return waits or (it.assignment is not None and not it.assignment.taken_over)


def _moving(world: World, it: Tracked) -> set[str]:
    """Models in which something moves, by the last plan and by what is known to be under way."""
    desired = world.desired.known(it.server.fleet)
    live = {model for one in (desired.live if desired else ()) for model in one.rollout.models}
    return live | (set(it.standpoint.plan.hot) if it.standpoint else set())


def _slice(world: World, it: Tracked, names: set[str]) -> set[str]:
    """The models whose turn it is, so that all have theirs once in `sweep_s`."""
    options, now = world.options, world.now()
    if not names or now - it.sliced_at < options.observe_interval_s * 0.9:
        return set()
    it.sliced_at = now
    count = ceil(len(names) * options.observe_interval_s / options.sweep_s)
    ordered, begin = sorted(names), it.slice % len(names)
    it.slice = begin + count
    return set((ordered + ordered)[begin : begin + count])
