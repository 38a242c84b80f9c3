"""The history: what happened, which version answered a label when, and what a fleet was at a time.

Every question lives in the address. Times are asked for and told in UTC.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.events import Event, EventKind, Wanted
from control_plane.services import comparison, history, timeline
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
PAGE: Final = 50
LONGEST: Final = 200
MOST_REVISION: Final = 2**31 - 1
_FILTERS: Final = ("fleet", "model", "server", "actor", "kind", "since", "until")
_APART: Final = ("diff", "digest", "epoch", "sent_at")  # what nobody reads in a line
_GROUPS: Final = sorted({str(one).partition(".")[0] for one in EventKind})


async def _show(visit: Visit) -> Response:
    asked = _asked(visit, *_FILTERS)
    facts = await _events(visit, asked)
    names = await comparison.names(visit.site.db)
    return visit.page("history.html", **facts, **names, groups=_GROUPS, kinds=list(EventKind))


async def _list(visit: Visit) -> Response:
    return visit.page("history/list.html", **await _events(visit, _asked(visit, *_FILTERS)))


async def _events(visit: Visit, asked: Mapping[str, str]) -> Json:
    before = _whole(visit.request.query_params.get("before", ""), 2**62)
    wanted = Wanted(
        fleet=asked["fleet"],
        model=asked["model"],
        server=asked["server"],
        actor=asked["actor"],
        kind=asked["kind"],
        since=moment("since", asked["since"]),
        until=moment("until", asked["until"]),
    )
    told = await history.newest(visit.site.db, wanted, before, PAGE)
    given = {name: value for name, value in asked.items() if value}
    return {
        "asked": asked,
        "query": urlencode(given),
        "older": urlencode({**given, "before": told.before}) if told.before else "",
        "newest": not before,
        "events": [{"event": one, "details": list(details(one))} for one in told.events],
    }


def details(event: Event) -> Iterator[tuple[str, str]]:
    """Yield what an event holds beside its names, as words and texts."""
    for word, value in event.data.items():
        if word == "changes" and isinstance(value, dict):
            for model, one in value.items():
                yield model, _deployment(one)
        elif word not in _APART and value not in (None, "", [], {}):
            yield word.replace("_", " "), _told(value)


def _told(value: Any) -> str:
    match value:
        case str():
            return value
        case list() if all(isinstance(one, str | int) for one in value):
            return ", ".join(map(str, value))
        case _:
            return json.dumps(value, ensure_ascii=False)


def _deployment(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "∅"
    labels = (f"{label} → {version}" for label, version in one.get("labels", {}).items())
    return ", ".join([*map(str, one.get("versions", ())), *labels])


async def _label(visit: Visit) -> Response:
    asked = _asked(visit, "fleet", "model", "label", "at")
    at, found = moment("at", asked["at"]), None
    if asked["fleet"] and asked["model"] and asked["label"]:
        where = (asked["fleet"], asked["model"], asked["label"])
        found = await timeline.answered(visit.site.db, where, at)
    names = await comparison.names(visit.site.db)
    return visit.page("history/label.html", asked=asked, at=at, found=found, **names)


async def _state(visit: Visit) -> Response:
    asked = _asked(visit, "fleet", "at", "revision")
    db, names = visit.site.db, await comparison.names(visit.site.db)
    fleet = asked["fleet"] or next(iter(names["fleets"]), "")
    facts: Json = {"fleet": fleet, "asked": asked, "then": None}
    if fleet:
        now = await timeline.state(db, fleet, None)
        number = min(_whole(asked["revision"], MOST_REVISION), now["revision"])
        then = await timeline.state(
            db, fleet, moment("at", asked["at"]), number if asked["revision"] else None
        )
        made = await timeline.revision(db, fleet, then["revision"]) if then["revision"] else None
        facts |= {
            "then": then,
            "latest": now["revision"],
            "made": made,
            "changes": comparison.changes(then, now),
        }
    return visit.page("history/state.html", **facts, **names)


def _asked(visit: Visit, *names: str) -> dict[str, str]:
    query = visit.request.query_params
    return {name: query.get(name, "").strip()[:LONGEST] for name in names}


def _whole(text: str, most: int) -> int:
    return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def moment(field: str, text: str) -> datetime | None:
    """Return the time that somebody typed, UTC unless it says otherwise; None for "".

    Raises:
        FieldInvalid: it is no time.
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        told = f"{text[:40]!r} is no time"
        raise FieldInvalid(field, told, hint="as 2026-07-01T12:30, in UTC") from None


PLACES: Final = (
    Place("/history", "history", _show),
    Place("/ui/history", "history_list", _list),
    Place("/history/label", "label_history", _label),
    Place("/history/state", "state_at", _state),
)
