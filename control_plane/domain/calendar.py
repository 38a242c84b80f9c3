"""Gates that ask for the time only; pure."""

from collections.abc import Iterable
from datetime import datetime

from control_plane.domain.freeze import frozen_by, told
from control_plane.domain.gate import Freeze, Ruling, Schedule, Verdict


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
