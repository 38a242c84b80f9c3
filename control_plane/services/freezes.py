"""Freezes in the way of a change: it is refused, or a person breaks the glass and says why.

A freeze is a gate of the strategy that a change follows. One that is open when somebody asks
refuses the change; one that opens later holds the rollout. Rollbacks follow no strategy.
"""

from collections.abc import Iterable
from dataclasses import replace

from control_plane.domain.calendar import FREEZE, glass_broken, in_the_way, open_window
from control_plane.domain.errors import Frozen, GateBlocked
from control_plane.domain.events import EventKind
from control_plane.domain.freeze import Window, told
from control_plane.domain.revision import Kind
from control_plane.domain.rollout import Rollout, Step
from control_plane.domain.strategy import GateSpec, Strategy
from control_plane.services import changes
from control_plane.services.changes import Call, Change, Ground, Outcome, Started
from control_plane.services.transitions import rollout_event
from control_plane.store import journal
from control_plane.store.database import Session


async def carry_out(s: Session, ground: Ground, change: Change, call: Call) -> Outcome:
    """Carry a change out as the freezes of its strategy allow.

    Raises:
        Frozen: a window is open, and would hold the rollout before anything else does.
        GateBlocked: a service breaks no glass.
        RolloutInFlight, Held: as with every change.
    """
    strategy = change.strategy.strategy
    moves = any(ground.head.get(model) != one for model, one in change.after.items())
    if not moves or change.kind not in (Kind.PROMOTE, Kind.DEPLOY):
        return await changes.carry_out(s, ground, change, call)
    broken = glass_broken(strategy, call.break_glass) if call.break_glass else strategy
    if broken != strategy:
        may_break(call)
        change = replace(change, strategy=replace(change.strategy, strategy=broken))
    elif window := in_the_way(strategy, ground.fleet.name, change.models, call.now):
        if not call.dry_run:
            raise frozen(window)
        warning = f"{told(window)}: it would be refused"
        change = replace(change, warnings=(*change.warnings, warning))
    outcome = await changes.carry_out(s, ground, change, call)
    if broken != strategy and isinstance(outcome, Started):
        await say_broken(s, outcome.rollout, _freezes(strategy), call)
    return outcome


def may_break(call: Call) -> None:
    """Let pass a person who breaks the glass.

    Raises:
        GateBlocked: a service does.
    """
    if call.automatic:
        raise GateBlocked("only a person breaks the glass", blockers=[])


def refuse_frozen(rollout: Rollout, steps: Iterable[Step], call: Call) -> None:
    """Let pass steps of a rollout of which none is a freeze that is open now.

    Raises:
        Frozen: names the window.
    """
    for one in steps:
        if one.spec.get("kind") != FREEZE:
            continue
        window = open_window(one.spec, rollout.fleet, rollout.models, call.now)
        if window is not None:
            raise frozen(window)


def frozen(window: Window) -> Frozen:
    """Return the refusal of what a window is in the way of."""
    hint = "wait for its end, or give break_glass, which says why it cannot wait"
    return Frozen(told(window), hint=hint, reason=window.reason)


async def say_broken(s: Session, rollout: Rollout, gates: Iterable[str], call: Call) -> None:
    """Write down who broke the glass of which gates, and why."""
    by = replace(call.writer, reason=call.break_glass)
    event = rollout_event(EventKind.ROLLOUT_GLASS_BROKEN, rollout, by, {"gates": list(gates)})
    await journal.append(s, event)


def _freezes(strategy: Strategy) -> list[str]:
    return [
        f"gate {one.name}"
        for one in strategy.steps
        if isinstance(one, GateSpec) and one.kind == FREEZE
    ]
