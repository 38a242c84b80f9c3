"""One broken promise, named by its number in the list of invariants (docs/chaos.md)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """What was broken, when (monotonic; 0: known only at the end), and by what."""

    invariant: str
    t: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.t:.3f}: {self.text}"
