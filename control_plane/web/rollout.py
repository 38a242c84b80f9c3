"""A rollout while it moves and after: what it waits for, why it failed, and what to tell it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.responses import Response

from control_plane.domain.errors import ControlPlaneError, FieldInvalid, NotFound
from control_plane.domain.rollout import Rollout
from control_plane.services import rollouts
from control_plane.services.access import Role
from control_plane.services.evidence import evidence
from control_plane.services.rollout_choices import choices
from control_plane.services.rollouts import Verb
from control_plane.web.plan import moves_of
from control_plane.web.plan_wish import MOST_REASON
from control_plane.web.rollout_gates import charts
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
MOST_LOG: Final = 150  # what was seen of servers, the newest
_LOOKS: Final = {
    "reached": "healthy",
    "moving": "rolling",
    "failed": "bad",
    "lacking": "warn",
    "blocked": "warn",
    "unreachable": "unreachable",
}
_TIMED: Final = ("bake", "drain")
_PAST_GATES: Final = (Verb.RESUME, Verb.RETRY, Verb.PROMOTE_NOW)
_FILES: Final = {"json": "application/json", "html": "text/html; charset=utf-8"}


async def _show(visit: Visit) -> Response:
    return visit.page("rollout.html", **await _facts(visit), error=None, typed={})


async def _board(visit: Visit) -> Response:
    return visit.page("rollout/board.html", **await _facts(visit), error=None, typed={})


async def _steer(visit: Visit) -> Response:
    """Tell the rollout something; what keeps it from being done is said on its page."""
    form = await visit.form()
    try:
        steered = await _told(visit, form)
    except ControlPlaneError as error:
        status = visit.site.status_of(type(error))
        return visit.page(
            "rollout.html", status, **await _facts(visit), error=error, typed=dict(form)
        )
    visit.changed(steered.fleet)
    return visit.go(visit.link("rollout", id=steered.id))


async def _told(visit: Visit, form: Mapping[str, str]) -> Rollout:
    word, reason = form.get("verb", ""), form.get("reason", "").strip()
    if word not in set(Verb):
        raise NotFound(visit.t("problem.no_page", path=visit.request.url.path))
    if len(reason) > MOST_REASON or "\x00" in reason:
        raise FieldInvalid("reason", f"at most {MOST_REASON} characters of text")
    verb = Verb(word)
    glass = form.get("break_glass", "").strip()[:MOST_REASON] if verb in _PAST_GATES else ""
    call = replace(visit.call(reason), break_glass=glass)
    return await rollouts.steer(visit.site.db, visit.request.path_params["id"], verb, call)


async def _evidence(visit: Visit) -> Response:
    """Hand the evidence out as a file."""
    id_, form = visit.request.path_params["id"], visit.request.path_params["form"]
    if form not in _FILES:
        raise NotFound(visit.t("problem.no_page", path=visit.request.url.path))
    document = await evidence(visit.site.db, id_)
    if form == "html":
        from control_plane.services.evidence_page import evidence_page

        content = evidence_page(document)
    else:
        content = json.dumps(document, ensure_ascii=False, indent=1)
    name = f'attachment; filename="rollout-{document["rollout"]["id"]}.{form}"'
    headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
    return Response(content.encode(), headers=headers, media_type=_FILES[form])


async def _facts(visit: Visit) -> Json:
    id_, now = visit.request.path_params["id"], visit.site.clock()
    told = await evidence(visit.site.db, id_)
    rollout = told["rollout"]
    may = await choices(visit.site.db, id_, visit.actor.name if visit.actor else "", now)
    steps = [_step(one, rollout["live"], now) for one in rollout["steps"]]
    current = next((one for one in steps if one["phase"] != "succeeded"), None)
    moves = moves_of(told["deployments"], rollout["label"])
    return {
        "told": told,
        "rollout": rollout,
        "sentence": _sentence(rollout),
        "moves": moves,
        "steps": steps,
        "current": current if rollout["live"] else None,
        "took_s": _between(rollout["created_at"], rollout["ended_at"] or now.isoformat()),
        "advice": _advice(rollout, current),
        "may": _may(visit, may["verbs"]),
        "way_back": may["rollback"],
        "servers": max((len(one["servers"]) for one in steps), default=0),
        "again": _again(rollout, moves),
        "watched": _watched(rollout, current),
        "log": _log(told),
    }


def _may(visit: Visit, verbs: Mapping[str, str]) -> Json:
    """Put verbs together by why they may not be told: "" for those that may."""
    not_allowed = visit.may(Role.OPERATOR)
    found: dict[str, list[str]] = {"": []}
    for verb, why in verbs.items():
        told = not_allowed or (visit.t(f"whynot.{why}") if why else "")
        found.setdefault(told, []).append(verb)
    return found


def _sentence(rollout: Json) -> str:
    """The rollout's sentence without the words that are shown beside it."""
    said: str = rollout["sentence"]
    return said.removesuffix(f": {rollout['error']}") if rollout["error"] else said


def _step(step: Json, live: bool, now: datetime) -> Json:
    """A step with its servers, and how long it has taken."""
    seen = step["evidence"]
    verdict = seen.get("verdict")
    ended = step["ended_at"] or (now.isoformat() if live else None)
    return {
        **step,
        "look": step["phase"] if step["phase"] != "pending" else "later",
        "took_s": _between(step["started_at"], ended),
        "ends_at": _ends_at(step),
        "witnesses": sorted(_witnesses(step), key=lambda one: one["reach"] == "reached"),
        "verdict": verdict,
        "charts": charts(step["spec"], verdict["evidence"]) if verdict else [],
        "skipped": seen.get("skipped"),
        "approvals": seen.get("approvals", []),
    }


def _witnesses(step: Json) -> list[Json]:
    found = []
    for name in step["servers"]:
        seen = step["evidence"].get(name)
        if isinstance(seen, dict) and "reach" in seen:
            found.append({"server": name, "look": _LOOKS.get(seen["reach"], "unknown"), **seen})
    return found


def _ends_at(step: Json) -> str | None:
    if step["name"] not in _TIMED or not step["started_at"]:
        return None
    begun = datetime.fromisoformat(step["started_at"])
    return (begun + timedelta(seconds=step["spec"]["seconds"])).isoformat()


def _between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(took.total_seconds(), 0.0)


def _advice(rollout: Json, current: Json | None) -> str:
    """A word for what is best done now."""
    phase = rollout["phase"]
    if not rollout["live"]:
        return _afterwards(rollout)
    if phase == "paused":
        return "paused"
    name = current["name"] if current else ""
    if current and current["started_at"] and name in ("approve", "gate"):
        return name
    reaches = {one["reach"] for one in current["witnesses"]} if current else set()
    found = (one for one in ("failed", "blocked", "lacking", "unreachable") if one in reaches)
    return next(found, "waiting" if phase == "waiting" else "moving")


def _afterwards(rollout: Json) -> str:
    if rollout["superseded_by"]:
        return "superseded"
    if rollout["phase"] == "succeeded":
        return "laggards" if rollout["laggards"] else "done"
    if rollout["phase"] == "failed":
        return "load_failed" if rollout["error"] else "failed_before"
    return str(rollout["phase"])


def _again(rollout: Json, moves: list[Json]) -> Json | None:
    """What the plan of another try is asked with; None where a try has no plan of its own."""
    one = next(iter(moves), None)
    if rollout["live"] or rollout["kind"] != "promote" or not rollout["model"] or one is None:
        return None
    strategy = rollout["strategy"]["name"]
    return {"label": one["label"], "version": one["after"], "strategy": strategy}


def _watched(rollout: Json, current: Json | None) -> bool:
    """Whether it changes by itself, also in ways that the journal does not tell."""
    return bool(
        rollout["live"]
        and rollout["phase"] != "paused"
        and not (current and current["name"] == "approve" and current["started_at"])
    )


def _log(told: Json) -> list[Json]:
    """What was sent and seen, the newest first, each reload with what it changed."""
    diffs = {one["seq"]: one.get("diff", "") for one in told["reloads"]}
    newest = list(reversed(told["servers"]))[:MOST_LOG]
    return [{**one, "diff": diffs.get(one["seq"], "")} for one in newest]


PLACES: Final = (
    Place("/rollouts/{id}", "rollout", _show),
    Place("/rollouts/{id}", "tell_rollout", _steer, "POST"),
    Place("/ui/rollouts/{id}/board", "rollout_board", _board),
    Place("/ui/rollouts/{id}/evidence.{form}", "rollout_evidence", _evidence),
)
