"""What a look asks of a server in the situation that it is in, and learning from the answer."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

from control_plane.domain import evidence
from control_plane.domain.action import Blocked, Cause, Converged, Reload
from control_plane.domain.assignment import Assignment, Traits
from control_plane.domain.evidence import answered
from control_plane.domain.observed import Look, Observed
from control_plane.domain.questions import Questions, questions
from control_plane.reconcile import observe
from control_plane.reconcile.world import Tracked, World

Labels = tuple[tuple[str, str], ...]  # model and label
FRESH_S = 0.1  # how long a look at a steady server is good for
NOTHING = Questions((), (), (), full=False)
USUAL_LABELS: Mapping[str, int] = {"stable": 0, "canary": 0}  # only the names are asked
_NEWEST = 0.2  # how much the last look's round trip says beside those before
MOST_LOOKS = 3  # in a row: one that lost the marker is followed by a full one


async def see(world: World, it: Tracked) -> None:
    """Look at a server and learn from it; look again, fully, if the look raised a doubt."""
    _hear(it)
    waiting, it.sweeps = it.sweeps, []
    if it.observed.reachable or await _dial(world, it):
        await _look(world, it, sweep=bool(waiting))
    for one in waiting:
        if not one.done():
            one.set_result(None)


async def _look(world: World, it: Tracked, *, sweep: bool) -> None:
    for _ in range(MOST_LOOKS):
        asked = _questions(world, it, sweep=sweep)
        async with world.full_looks if asked.full else nullcontext():
            learn(it, await _asked(world, it, asked))
        if not it.observed.reachable or it.observed.looked_at > 0:
            return


async def _asked(world: World, it: Tracked, asked: Questions) -> Look:
    return await observe.look(it.client, asked, world.now(), world.options.rpc_timeout_s)


async def _dial(world: World, it: Tracked) -> bool:
    """Ask one thing of a server that did not answer, before everything is asked."""
    async with world.dials:
        one = await _asked(world, it, NOTHING)
    if not one.reachable:
        learn(it, one)
    return one.reachable


def seen_just_now(world: World, it: Tracked) -> bool:
    """Whether a look would show nothing that is not known: all was well there a moment ago."""
    observed, last = it.observed, it.standpoint
    idle = last is not None and isinstance(last.plan.action, Converged)
    known = observed.reachable and observed.looked_at > 0 and observed.intent is None
    waited_for = it.answers or it.sweeps
    return idle and known and not waited_for and world.now() - observed.at < FRESH_S


async def see_effect(world: World, it: Tracked, push: Reload) -> None:
    """Look whether a config that the server took is in force; then so are its labels."""
    _hear(it)
    intent = it.observed.intent
    took = intent is not None and intent.answer is not None and intent.answer.ok
    if push.marker is not None and took:
        marker = (push.marker.model, push.config.digest_label)
        asked = Questions((), (), (marker,), full=False)
        learn(it, await _asked(world, it, asked))
    if it.observed.intent is not None or it.observed.looked_at == 0:
        await see(world, it)


def learn(it: Tracked, look: Look) -> None:
    """Add a look to what is known of a server."""
    traits = it.assignment.traits if it.assignment else Traits()
    it.observed = evidence.learn(it.observed, look, traits.settle_s)
    if look.trip_s or not look.reachable:
        before = it.trip_s or look.trip_s
        it.trip_s = before + _NEWEST * (look.trip_s - before) if look.reachable else 0.0


def _hear(it: Tracked) -> None:
    """Take the answers of calls that returned since the last look."""
    heard, it.answers = it.answers, []
    for intent in heard:
        it.observed = answered(it.observed, intent)


def _questions(world: World, it: Tracked, *, sweep: bool) -> Questions:
    observed, assigned = it.observed, it.assignment
    wanted = {name: one.labels for name, one in assigned.models.items()} if assigned else {}
    if assigned and (not assigned.taken_over or _is_taken_up(it, assigned)):
        wanted = _guessed(world, it, wanted)
    names = {*wanted, *observed.models}
    turn = names if sweep else _slice(world, it, names)
    hot = (set(wanted) - set(observed.models)) | _moving(world, it) | turn
    if not observed.reachable:
        hot |= names
    owner = assigned.owner if assigned else ""
    asked = questions(observed, wanted, owner, frozenset(hot))
    if asked.full and observed.looked_at > 0 and _partly(it):
        keep = hot | (observed.intent.names_added if observed.intent else set())
        markers = tuple(one for one in asked.markers if one[1] != owner)
        return Questions(tuple(sorted(keep)), (), markers, full=False)
    return asked if asked.full else replace(asked, labels=_labels_of(observed, turn))


def _labels_of(observed: Observed, names: set[str]) -> Labels:
    """The labels of these models: a writer who keeps our markers may have moved one.

    While a push of ours may land, a label that moved says nothing.
    """
    if observed.verified is None or observed.intent is not None:
        return ()
    models = observed.verified.config.models
    turn = sorted(names & models.keys())
    return tuple((name, label) for name in turn for label in sorted(models[name].labels))


def _is_taken_up(it: Tracked, assigned: Assignment) -> bool:
    """Whether whatever runs there is to become desired, models that nobody deployed too."""
    return assigned.on_drift == "adopt" and it.observed.foreign


def _guessed(
    world: World, it: Tracked, wanted: Mapping[str, Mapping[str, int]]
) -> dict[str, Mapping[str, int]]:
    """What a server that is not ours may serve: any model that we know, under the usual labels."""
    desired = world.desired.known(it.server.fleet)
    names = {*(desired.registered if desired else ()), *wanted}
    return {name: {**USUAL_LABELS, **wanted.get(name, {})} for name in names}


def _partly(it: Tracked) -> bool:
    """Whether a full look would show no more than a short one.

    Nothing of ours goes to a server that was not taken over, or where somebody else's config is
    let be; and a call that is still open may take long.
    """
    if stands_aside(it):
        return True
    intent = it.observed.intent
    waits = intent is not None and intent.answer is None and bool(intent.names_added)
    return waits or (it.assignment is not None and not it.assignment.taken_over)


def stands_aside(it: Tracked) -> bool:
    """Whether the last plan left somebody else's config in its place, to be taken up by nobody."""
    action = it.standpoint.plan.action if it.standpoint else None
    aside = isinstance(action, Blocked) and action.cause in (Cause.DRIFTED, Cause.PAUSED)
    return aside and it.assignment is not None and it.assignment.on_drift != "adopt"


def _moving(world: World, it: Tracked) -> set[str]:
    """Models in which something moves, by the last plan and by what is known to be under way."""
    desired = world.desired.known(it.server.fleet)
    live = {model for one in (desired.live if desired else ()) for model in one.rollout.models}
    return live | (set(it.standpoint.plan.hot) if it.standpoint else set())


def _slice(world: World, it: Tracked, names: set[str]) -> set[str]:
    """The models whose turn it is, so that all have theirs once in `sweep_s`."""
    now, sweep_s = world.now(), world.options.sweep_s
    due = int((now - it.sliced_at) / sweep_s * len(names))
    if due == 0:
        return set()
    rest_s = now - it.sliced_at - due * sweep_s / len(names)  # counts for the next turn
    due = min(due, len(names))
    ordered, begin = sorted(names), it.slice % len(names)
    it.slice, it.sliced_at = begin + due, now - rest_s
    return set((ordered + ordered)[begin : begin + due])
