"""Freeze windows: when a fleet or a model is to be left alone; a pure function of the time."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from fnmatch import fnmatchcase
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from control_plane.domain.gate_fields import Fields

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")
_KNOWN = ("from", "to", "days", "timezone", "fleets", "models", "reason")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a window holds: patterns such as `eu-*`; none is everyone."""

    fleets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def holds(self, fleet: str, models: Iterable[str]) -> bool:
        """Whether the window is about a fleet and one of some models."""
        return _matches(self.fleets, (fleet,)) and _matches(self.models, models)


@dataclass(frozen=True, slots=True)
class Once:
    """From one moment to another."""

    begins: datetime
    ends: datetime
    scope: Scope = Scope()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Weekly:
    """From one time of day to the next such time, on these days of every week."""

    days: frozenset[int]  # on which it begins; 0 is Monday
    begins: time
    ends: time  # not later than `begins`: on the day after
    zone: tzinfo = UTC
    scope: Scope = Scope()
    reason: str = ""


Window: TypeAlias = Once | Weekly


def frozen_by(
    windows: Iterable[Window], fleet: str, models: Iterable[str], now: datetime
) -> Window | None:
    """Return the first window that now holds a fleet and one of these models."""
    names = tuple(models)
    return next((w for w in windows if w.scope.holds(fleet, names) and _open(w, now)), None)


def told(window: Window) -> str:
    """Say when a window ends, and why it is."""
    why = f" ({window.reason})" if window.reason else ""
    if isinstance(window, Once):
        return f"frozen until {window.ends.isoformat()}{why}"
    return f"frozen until {window.ends:%H:%M} {window.zone}{why}"


def _open(window: Window, now: datetime) -> bool:
    if isinstance(window, Once):
        return window.begins <= now < window.ends
    local = now.astimezone(window.zone)
    at, length = _minutes(local.time()), _length(window)
    today = local.weekday() in window.days and 0 <= at - _minutes(window.begins) < length
    eve = (local - timedelta(days=1)).weekday() in window.days
    return today or (eve and at + _MINUTES_A_DAY - _minutes(window.begins) < length)


def _length(window: Weekly) -> int:
    return (_minutes(window.ends) - _minutes(window.begins)) % _MINUTES_A_DAY or _MINUTES_A_DAY


def _minutes(at: time) -> int:
    return at.hour * 60 + at.minute


def _matches(patterns: tuple[str, ...], names: Iterable[str]) -> bool:
    return not patterns or any(fnmatchcase(name, one) for name in names for one in patterns)


def parse_windows(fields: Fields) -> tuple[Window, ...]:
    """Return the windows of a document.

    Raises:
        FieldInvalid: with the path of what is wrong.
    """
    return tuple(_window(one) for one in fields.each("windows", _KNOWN))


def _window(fields: Fields) -> Window:
    scope = Scope(fields.texts("fleets"), fields.texts("models"))
    reason = fields.text("reason", "")
    if fields.has("days"):
        days = frozenset(_day(fields, one) for one in fields.texts("days"))
        if not days:
            raise fields.wrong("days", "must name a day")
        begins, ends = _clock(fields, "from"), _clock(fields, "to")
        return Weekly(days, begins, ends, _zone(fields), scope, reason)
    if fields.has("timezone"):
        raise fields.wrong("timezone", "goes with days only: other times name their zone")
    once = Once(fields.moment("from"), fields.moment("to"), scope, reason)
    if once.begins >= once.ends:
        raise fields.wrong("to", "must be after from")
    return once


def _day(fields: Fields, name: str) -> int:
    if name not in _DAYS:
        raise fields.wrong("days", f"{name!r} is no day", hint=f"one of {', '.join(_DAYS)}")
    return _DAYS.index(name)


def _clock(fields: Fields, name: str) -> time:
    text = fields.text(name)
    if not _CLOCK.match(text):
        raise fields.wrong(name, "must be a time of day as 17:30")
    return time(int(text[:2]), int(text[3:]))


def _zone(fields: Fields) -> tzinfo:
    name = fields.text("timezone", "UTC")
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise fields.wrong("timezone", f"{name!r} is not known here") from None
