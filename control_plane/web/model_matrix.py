"""Versions × servers as a table; where servers are many, those that say the same share a column."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

Json = Mapping[str, Any]
EACH: Final = 6  # with more servers than this, columns are shared
_MOVING: Final = ("START", "LOADING", "UNLOADING")


@dataclass(frozen=True, slots=True)
class Cell:
    """One version on the servers of a column; `word` is TensorFlow Serving's, "" is none."""

    look: str
    word: str = ""
    since: str = ""  # of what is moving
    error: str = ""
    note: str = ""  # the key of a text


@dataclass(frozen=True, slots=True)
class Column:
    """Servers, and how each version is there, in the order of the rows."""

    servers: tuple[Json, ...]
    cells: tuple[Cell, ...]

    @property
    def known(self) -> bool:
        """Whether the servers answer and somebody looks at them."""
        return bool(self.servers[0]["known"])


class Table:
    """The columns, and cells as they are shown: alike ones are drawn once."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self._drawn: dict[int, Markup] = {}  # by identity: hashing 5000 of them takes longer

    def row(self, draw: Callable[[Cell], Markup], at: int) -> Markup:
        """Return a row's cells."""
        return Markup("").join(self._cell(draw, one.cells[at]) for one in self.columns)

    def _cell(self, draw: Callable[[Cell], Markup], cell: Cell) -> Markup:
        if id(cell) not in self._drawn:
            self._drawn[id(cell)] = draw(cell)
        return self._drawn[id(cell)]


def columns(servers: Sequence[Json], rows: Sequence[Json]) -> list[Column]:
    """Return the columns, those of the fewest servers first: what is odd is seen first."""
    kept: dict[tuple[str, ...], Cell] = {}
    made = [(one, tuple(_kept(kept, _cell(one, row)) for row in rows)) for one in servers]
    if len(made) <= EACH:
        return [Column((one,), cells) for one, cells in made]
    alike: dict[tuple[Any, ...], tuple[list[Json], tuple[Cell, ...]]] = {}
    for one, cells in made:
        key = (one["status"], one["drained"], *map(id, cells))
        alike.setdefault(key, ([], cells))[0].append(one)
    found = [Column(tuple(some), cells) for some, cells in alike.values()]
    return sorted(found, key=lambda one: (one.known, len(one.servers)))


def _kept(kept: dict[tuple[str, ...], Cell], values: tuple[str, ...]) -> Cell:
    """Return the one cell with these values."""
    if values not in kept:
        kept[values] = Cell(*values)
    return kept[values]


def _cell(server: Json, row: Json) -> tuple[str, ...]:
    """Return the values of a cell: look, word, since, error, note."""
    seen = row["states"].get(server["server"])
    if not server["known"]:
        return "unknown", "", "", "", "not_known"
    if seen is None:
        missing = row["wanted"] and server["ours"]
        return ("rolling", "", "", "", "awaited") if missing else ("none",)
    word = seen["state"]
    if seen["failed"]:
        return "bad", word, "", seen["error"] or f"error code {seen['error_code']}"
    if word == "END":
        return "none", word, "", "", "unloaded"
    if word == "AVAILABLE" and seen["able"] == "unable":
        return "bad", word, "", "", "unable"
    return word, word, (seen["since"] or "") if word in _MOVING else ""
