"""When each version could answer, as bars on a line of 24 hours."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

Json = Mapping[str, Any]
HEIGHT: Final = 18
MOST_ROWS: Final = 20
_LEAST: Final = 0.15  # percent: what was short is still seen
_TICK_S: Final = 6 * 3600


def ribbon(told: Json) -> dict[str, Any]:
    """Return bars by version, and the hours below; positions in percent."""
    since, until = _seconds(told["since"]), _seconds(told["until"])
    span = max(until - since, 1.0)
    rows = [_row(one, told["servers"], since, span) for one in told["versions"][:MOST_ROWS]]
    return {
        "rows": rows,
        "left_out": len(told["versions"]) - len(rows),
        "ticks": _ticks(since, until, span),
        "since": told["since"],
        "height": HEIGHT,
    }


def _row(one: Json, servers: int, since: float, span: float) -> Json:
    bars = [_bar(share, servers, since, span) for share in one["shares"]]
    return {
        "version": one["version"],
        "bars": [bar for bar in bars if bar["look"] != "none"],
        "everywhere": lasted(bar["seconds"] for bar in bars if bar["look"] == "everywhere"),
        "partly": lasted(bar["seconds"] for bar in bars if bar["look"] == "partly"),
        "failed": any(share["failed"] for share in one["shares"]),
    }


def _bar(share: Json, servers: int, since: float, span: float) -> Json:
    begin, end = _seconds(share["since"]), _seconds(share["until"])
    look = _look(share, servers)
    height = {"everywhere": HEIGHT, "moving": 5, "failed": 4}.get(look, 0)
    if look == "partly":
        height = max(6, round(HEIGHT * share["available"] / max(servers, 1) * 0.8))
    return {
        **share,
        "look": look,
        "seconds": end - begin,
        "x": round(100 * (begin - since) / span, 2),
        "width": max(_LEAST, round(100 * (end - begin) / span, 2)),
        "y": HEIGHT - height,
        "height": height,
    }


def _look(share: Json, servers: int) -> str:
    if share["available"]:
        return "everywhere" if share["available"] >= servers else "partly"
    if share["moving"]:
        return "moving"
    return "failed" if share["failed"] else "none"


def lasted(times: Any) -> str:
    """Return the sum of some seconds in the two units that matter; "" for none."""
    total = round(sum(times))
    if total < 60:
        return f"{total} s" if total else ""
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def _ticks(since: float, until: float, span: float) -> Sequence[Json]:
    hours = range(int(since // _TICK_S + 1), int(until // _TICK_S) + 1)
    placed = ((at * _TICK_S, round(100 * (at * _TICK_S - since) / span, 2)) for at in hours)
    return [{"at": _instant(at), "x": x} for at, x in placed if 4 < x < 92]


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
