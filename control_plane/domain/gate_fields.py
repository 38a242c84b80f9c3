"""Reads a gate's document field by field; what does not fit is named by its path."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control_plane.domain.errors import FieldInvalid

_LONGEST_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of the document, and where it is."""

    path: str
    document: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, value: Any, known: Iterable[str]) -> "Fields":
        """Take a value as an object that has no fields but the known ones.

        Raises:
            FieldInvalid: it is none, or has others.
        """
        if not isinstance(value, Mapping):
            raise FieldInvalid(path, "must be an object")
        names = sorted(known)
        for name in value:
            if name not in names:
                raise FieldInvalid(f"{path}.{name}", "is not known", hint=_known(names))
        return cls(path, value)

    def wrong(self, name: str, message: str, *, hint: str = "") -> FieldInvalid:
        """Return the error that names a field."""
        return FieldInvalid(f"{self.path}.{name}", message, hint=hint)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.document.get(name) is not None

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a finite number between two limits; None where it is left out."""
        value = self.document.get(name)
        if value is None:
            return None
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not math.isfinite(value) or not low <= value <= high:
            raise self.wrong(name, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number between two limits."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(name, f"must be a whole number from {low} to {high}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self.document.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.wrong(name, "is missing")
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_TEXT:
            raise self.wrong(name, f"must be a text of 1 to {_LONGEST_TEXT} characters")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def moment(self, name: str) -> datetime:
        """Return a time with its zone, in UTC."""
        text = self.text(name)
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise self.wrong(name, "must be a time as 2030-01-31T17:00:00Z") from None
        if at.tzinfo is None:
            raise self.wrong(name, "must name its zone, as 2030-01-31T17:00:00Z does")
        try:
            return at.astimezone(UTC)
        except OverflowError:
            raise self.wrong(name, "is too far away") from None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; empty where it is left out."""
        value = self.document.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(name, "must be a list of texts")
        return tuple(value)

    def url(self, name: str) -> str:
        """Return an http or https URL."""
        value = self.text(name)
        if not value.startswith(("http://", "https://")) or any(one.isspace() for one in value):
            raise self.wrong(name, "must be an http or https URL")
        return value

    def within(self, name: str, known: Iterable[str]) -> "Fields":
        """Return the object in a field; an empty one where it is left out."""
        value = self.document.get(name)
        return Fields.of(f"{self.path}.{name}", {} if value is None else value, known)

    def each(self, name: str, known: Iterable[str]) -> Iterator["Fields"]:
        """Yield the objects of a list that is not empty."""
        value = self.document.get(name)
        if not isinstance(value, list) or not value:
            raise self.wrong(name, "must be a list that is not empty")
        for at, one in enumerate(value):
            yield Fields.of(f"{self.path}.{name}[{at}]", one, known)


def _known(names: Iterable[str]) -> str:
    return f"known: {', '.join(names)}"
