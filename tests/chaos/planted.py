"""A bug that is planted into a copy of the program, and what has to notice it.

Those of the planner are in `tests/unit/mutants.py`.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bug:
    """One edit at one place; its detector fails with it, in these words, and passes without."""

    name: str
    wrong: str  # what the program does wrong then
    file: str  # in `control_plane/`
    before: str
    after: str
    detector: str  # a test, or a module of `tests.chaos` and its arguments
    words: str  # a regular expression

    def planted(self, tree: Path) -> None:
        """Edit a copy of the program."""
        place = tree / "control_plane" / self.file
        source = place.read_text()
        if source.count(self.before) != 1:
            raise ValueError(f"{self.name}: {self.file} does not hold its text once")
        place.write_text(source.replace(self.before, self.after))


def command(detector: str) -> list[str]:
    """What to give to a Python to have something checked; it fails if that is not so."""
    if not detector.startswith("tests/"):
        return ["-m", *detector.split()]
    without = ["-p", "no:cacheprovider", "-p", "no:randomly"]
    return ["-m", "pytest", "-n", "0", "-x", "--tb=short", *without, *detector.split()]
