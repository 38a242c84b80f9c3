"""Gates that ask for the time only; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from control_plane.domain.freeze import Window, frozen_by, told
from control_plane.domain.gate import Freeze, Ruling, Schedule, Verdict, parse_gate
from control_plane.domain.strategy import GateSpec, Load, Strategy

FREEZE: Final = "freeze"  # the kind of gate


def frozen(gate: Freeze, fleet: str, models: Iterable[str], now: datetime) -> Verdict:
    """Hold while a window is open for the fleet or a model, unless the glass is broken."""
    window = frozen_by(gate.windows, fleet, models, now)
    if window is None:
        return Verdict(Ruling.PASS, "no freeze window is open")
    evidence = {"window": told(window), "break_glass": gate.break_glass}
    if gate.break_glass:
        sentence = f"{told(window)}, but the glass is broken: {gate.break_glass}"
        return Verdict(Ruling.PASS, sentence, evidence)
    return Verdict(Ruling.HOLD, told(window), evidence)


def scheduled(gate: Schedule, now: datetime) -> Verdict:
    """Hold until the time has come."""
    if now < gate.at:
        return Verdict(Ruling.HOLD, f"scheduled for {gate.at.isoformat()}")
    return Verdict(Ruling.PASS, f"it is past {gate.at.isoformat()}")


def in_the_way(
    strategy: Strategy, fleet: str, models: Iterable[str], now: datetime
) -> Window | None:
    """Return the open window that would hold a rollout before it waits for anything else."""
    names = tuple(models)
    for spec in strategy.steps:
        if isinstance(spec, GateSpec) and spec.kind == FREEZE:
            if window := open_window({"kind": FREEZE, **spec.options}, fleet, names, now):
                return window
        elif not isinstance(spec, Load):
            return None
    return None


def open_window(
    gate: Mapping[str, Any], fleet: str, models: Iterable[str], now: datetime
) -> Window | None:
    """Return the window of a freeze gate's document that is open, unless the glass is broken."""
    freeze = parse_gate("gate", gate)
    if not isinstance(freeze, Freeze) or freeze.break_glass:
        return None
    return frozen_by(freeze.windows, fleet, models, now)


def glass_broken(strategy: Strategy, why: str) -> Strategy:
    """Return the strategy with freezes that hold nothing and say why."""
    steps = tuple(
        replace(one, options={**one.options, "break_glass": why})
        if isinstance(one, GateSpec) and one.kind == FREEZE
        else one
        for one in strategy.steps
    )
    return replace(strategy, steps=steps)
