"""Versions × servers as a table; where servers are many, those that say the same share a column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


NOT_THERE: Final = Cell("none")


def columns(servers: Sequence[Json], rows: Sequence[Json]) -> list[Column]:
    """Return the columns, those of the fewest servers first: what is odd is seen first."""
    made = [(one, tuple(_cell(one, row) for row in rows)) for one in servers]
    if len(made) <= EACH:
        return [Column((one,), cells) for one, cells in made]
    alike: dict[tuple[Any, ...], list[Json]] = {}
    for one, cells in made:
        alike.setdefault((one["status"], one["drained"], cells), []).append(one)
    found = [Column(tuple(some), key[2]) for key, some in alike.items()]
    return sorted(found, key=lambda one: (one.known, len(one.servers)))


def _cell(server: Json, row: Json) -> Cell:
    seen = row["states"].get(server["server"])
    if not server["known"]:
        return Cell("unknown", note="not_known")
    if seen is None:
        missing = row["wanted"] and server["ours"]
        return Cell("rolling", note="awaited") if missing else NOT_THERE
    word = seen["state"]
    if seen["failed"]:
        return Cell("bad", word, error=seen["error"] or f"error code {seen['error_code']}")
    if word == "END":
        return Cell("none", word, note="unloaded")
    if word == "AVAILABLE" and seen["able"] == "unable":
        return Cell("bad", word, note="unable")
    return Cell(word, word, since=(seen["since"] or "") if word in _MOVING else "")
