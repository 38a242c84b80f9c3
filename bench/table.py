"""The table: each row sets our figure against a bare one that was measured in the same run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

_HEAD = ("row", "what", "ours", "bare", "ratio", "target", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line; `met` is None where there is no target."""

    key: str
    what: str
    ours: str
    bare: str
    ratio: float
    target: str = ""
    met: bool | None = None


def faster(key: str, what: str, pair: tuple[float, float], least: float) -> Row:
    """Return the row of two durations in seconds, where the bare one may be so many times ours."""
    ours, bare = pair
    ratio = bare / ours
    target = f"≥ {least:g}"
    return Row(key, what, seconds(ours), seconds(bare), ratio, target, ratio >= least)


def smaller(key: str, what: str, pair: tuple[float, float], most: float) -> Row:
    """Return the row of two sizes in bytes, where ours may be such a part of the other."""
    ours, bare = pair
    ratio = ours / bare
    return Row(key, what, megabytes(ours), megabytes(bare), ratio, f"≤ {most:g}", ratio <= most)


def within(key: str, what: str, pair: tuple[float, float], most: float, extra_s: float) -> Row:
    """Return the row of two durations, where ours may take `most` times the bare one and a bit."""
    ours, bare = pair
    target = f"≤ {most:g} × + {extra_s * 1000:g} ms"
    met = ours <= most * bare + extra_s
    return Row(key, what, seconds(ours), seconds(bare), ours / bare, target, met)


def seconds(value: float) -> str:
    """Write a duration."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.2f} ms"


def megabytes(value: float) -> str:
    """Write a size."""
    return f"{value / 1e6:.1f} MB"


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return float(median(values))


def render(rows: Sequence[Row]) -> str:
    """Lay the rows out in columns."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(_HEAD))]
    align: Sequence[Callable[[str, int], str]] = (
        *(str.ljust,) * 2,
        *(str.rjust,) * 3,
        *(str.ljust,) * 2,
    )
    lines = (zip(align, line, widths, strict=True) for line in cells)
    return "\n".join("  ".join(put(cell, width) for put, cell, width in one) for one in lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return (row.key, row.what, row.ours, row.bare, f"{row.ratio:.3f}", row.target, verdict)
