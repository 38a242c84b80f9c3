"""Rules on predictions that a prober sends through every server while a rollout runs; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from control_plane.domain.gate import Probe, Ruling, Verdict


@dataclass(frozen=True, slots=True)
class Probed:
    """All that a prober has sent so far."""

    requests: int = 0  # that were answered, well or not
    failures: int = 0
    unreachable: int = 0  # not answered, as the server was away: that is no failure of a version
    refused: int = 0  # for what they hold: they prove nothing
    worst_ms: float = 0.0
    p99_ms: float = 0.0
    by: Mapping[str, int] = field(default_factory=dict)  # label, version, unlabelled
    servers: Mapping[str, int] = field(default_factory=dict)
    first_failure: Mapping[str, Any] | None = None
    last_refusal: str = ""

    @property
    def told(self) -> str:
        """The numbers in a sentence."""
        worst = f"worst {self.worst_ms:.1f} ms"
        return f"{self.requests} predictions, {self.failures} failed, {worst}"


def rule(gate: Probe, seen: Probed) -> Verdict:
    """Rule on what was probed; it is held until there is enough of it."""
    evidence = _evidence(seen)
    if seen.failures > gate.max_failures:
        first = seen.first_failure or {}
        words = f"{first.get('server')} ({first.get('asked')}): {first.get('error')}"
        text = f"{seen.told} (at most {gate.max_failures} may fail); the first on {words}"
        return Verdict(Ruling.FAIL, text, evidence)
    if seen.requests < gate.min_requests:
        if seen.refused and not seen.requests:
            text = f"every request is refused, give a warm-up file: {seen.last_refusal}"
            return Verdict(Ruling.HOLD, text, evidence)
        return Verdict(Ruling.HOLD, f"waiting for {gate.min_requests} predictions", evidence)
    if gate.p99_ms is not None and seen.p99_ms > gate.p99_ms:
        text = f"{seen.told}, p99 {seen.p99_ms:.1f} ms (at most {gate.p99_ms:g})"
        return Verdict(Ruling.FAIL, text, evidence)
    return Verdict(Ruling.PASS, seen.told, evidence)


def _evidence(seen: Probed) -> dict[str, Any]:
    return {
        "requests": seen.requests,
        "failures": seen.failures,
        "unreachable": seen.unreachable,
        "refused": seen.refused,
        "worst_ms": round(seen.worst_ms, 3),
        "p99_ms": round(seen.p99_ms, 3),
        "by": dict(seen.by),
        "servers": dict(seen.servers),
        "first_failure": dict(seen.first_failure) if seen.first_failure else None,
    }
