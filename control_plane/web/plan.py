"""Plans: what moving a label would do, and the button that has just that done."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from control_plane.domain.errors import ControlPlaneError, PlanChanged
from control_plane.services.access import Role, TokenKind
from control_plane.services.changes import Call, Planned, Started
from control_plane.services.kept_plans import agreed_to
from control_plane.services.plan_choices import plan_choices
from control_plane.services.plan_view import plan_json
from control_plane.web.plan_wish import OVERRIDES, Wish
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
MOST_VERSIONS: Final = 200  # that a form lists
_OVERRIDE_OF: Final = {
    "rollout-in-flight": "supersede",
    "signature-breaking": "allow_breaking",
    "artifact-missing": "force",
}


async def _promote(visit: Visit) -> Response:
    return await _show(visit, _wish(visit, visit.request.query_params, back=False))


async def _roll_back(visit: Visit) -> Response:
    return await _show(visit, _wish(visit, visit.request.query_params, back=True))


async def _start_promotion(visit: Visit) -> Response:
    return await _start(visit, back=False)


async def _start_rollback(visit: Visit) -> Response:
    return await _start(visit, back=True)


def _wish(visit: Visit, given: Mapping[str, str], *, back: bool) -> Wish:
    named = visit.request.path_params
    return Wish(back, named["fleet"], named["model"], dict(given))


async def _start(visit: Visit, *, back: bool) -> Response:
    """Do what was planned, or show what the plan is by now."""
    form = await visit.form()
    wish = _wish(visit, form, back=back)
    try:
        call = replace(visit.call(wish.reason), break_glass="" if back else wish.break_glass)
        call = replace(call, agreed=agreed_to(form.get("plan_hash", "")))
        outcome = await wish.carry_out(visit.site.db, call)
    except ControlPlaneError as error:
        return await _show(visit, wish, error)
    if not isinstance(outcome, Started):
        return await _show(visit, wish)
    visit.changed(wish.fleet)
    return visit.go(visit.link("rollout", id=outcome.rollout.id))


async def _show(visit: Visit, wish: Wish, refused: ControlPlaneError | None = None) -> Response:
    """Show the form with the plan of what it says; nothing that was typed is lost."""
    choices = await plan_choices(visit.site.db, wish.fleet, wish.model, wish.label)
    wish = _filled(wish, choices)
    plan, error = await _plan(visit, wish)
    code = refused.code if refused else error.code if error else ""
    moves = moves_of(plan, wish.label) if plan else []
    facts = {
        "tab": "models",
        "wish": wish,
        "choices": {**choices, "versions": _listed(choices["versions"], wish)},
        "plan": plan,
        "error": error if refused is None or isinstance(refused, PlanChanged) else refused,
        "changed": isinstance(refused, PlanChanged),
        "moves": moves,
        "asked_moves": [one for one in moves if one["label"] == wish.label] or moves,
        "groups": groups_of(plan["reloads"]) if plan else [],
        "people": [one for one in _steps(plan) if one["name"] == "approve"],
        "steps": _steps(plan),
        "overrides": [] if wish.back else _overrides(wish, code),
        "frozen": any(one["spec"].get("kind") == "freeze" for one in _steps(plan))
        or code == "frozen"
        or bool(wish.text("break_glass")),
        "may_operate": visit.may(Role.OPERATOR),
        "commands": _commands(visit, wish, plan) if plan else (),
    }
    status = visit.site.status_of(type(refused)) if refused else 200
    return visit.page("plan/panel.html" if visit.partly else "plan.html", status, **facts)


def _filled(wish: Wish, choices: Json) -> Wish:
    """Take the version that is most likely meant, where none is named."""
    named = wish.back or wish.text("version") or wish.text("from_label")
    if named or choices["suggested"] is None:
        return wish
    return replace(wish, given={**wish.given, "version": str(choices["suggested"])})


async def _plan(visit: Visit, wish: Wish) -> tuple[Json | None, ControlPlaneError | None]:
    """Return the plan, or why there is none; neither where it is so already."""
    actor = visit.actor
    call = Call(
        actor=actor.name if actor else "",
        now=visit.site.clock(),
        new_id=visit.site.new_id(),
        dry_run=True,
        automatic=actor is not None and actor.kind is TokenKind.SERVICE,
    )
    try:
        call = replace(call, break_glass="" if wish.back else wish.break_glass)
        outcome = await wish.carry_out(visit.site.db, call)
        wish.body("")
    except ControlPlaneError as error:
        return None, error
    return (plan_json(outcome) if isinstance(outcome, Planned) else None), None


def moves_of(plan: Mapping[str, Json], label: str) -> list[Json]:
    """Return which labels go where, from deployments before and after; this label first."""
    found = []
    for model, after in plan["after"].items():
        old = (plan["before"].get(model) or {}).get("labels", {})
        new = (after or {}).get("labels", {})
        for name, version in new.items():
            if old.get(name) != version:
                move = {"model": model, "label": name, "before": old.get(name), "after": version}
                found.append(move)
    return sorted(found, key=lambda one: one["label"] != label)


def groups_of(reloads: Iterable[Json]) -> list[Json]:
    """Put servers together that are sent the same."""
    by_server: dict[str, list[Json]] = {}
    for one in reloads:
        by_server.setdefault(one["server"], []).append(one)
    groups: list[tuple[list[Json], list[str]]] = []
    for server, sent in by_server.items():
        gist = [{**one, "server": ""} for one in sent]
        for known, servers in groups:
            if known == gist:
                servers.append(server)
                break
        else:
            groups.append((gist, [server]))
    return [{"reloads": gist, "servers": servers} for gist, servers in groups]


def _steps(plan: Json | None) -> list[Json]:
    if plan is None:
        return []
    return [
        {"name": name, "spec": spec}
        for name, spec in zip(plan["steps"], plan["specs"], strict=True)
    ]


def _overrides(wish: Wish, code: str) -> list[str]:
    """The boxes that are of use here: those that are ticked, and the one that an error is about."""
    return [one for one in OVERRIDES if wish.text(one) or _OVERRIDE_OF.get(code) == one]


def _listed(versions: list[Json], wish: Wish) -> list[Json]:
    """The newest versions, and the one that is asked for."""
    asked = wish.text("to_version") or wish.text("version")
    return versions[:MOST_VERSIONS] + [
        one for one in versions[MOST_VERSIONS:] if str(one["version"]) == asked
    ]


def _commands(visit: Visit, wish: Wish, plan: Json) -> tuple[tuple[str, str], ...]:
    hash_ = plan["plan_hash"]
    token = visit.site.auth_required
    curl = wish.call(str(visit.request.base_url), hash_, token=token)
    return (("tfsctl", wish.command(hash_)), ("curl", curl))


_PATH: Final = "/fleets/{fleet}/models/{model}"
PLACES: Final = (
    Place(f"{_PATH}/promote", "promote", _promote),
    Place(f"{_PATH}/promote", "start_promotion", _start_promotion, "POST"),
    Place(f"{_PATH}/rollback", "rollback", _roll_back),
    Place(f"{_PATH}/rollback", "start_rollback", _start_rollback, "POST"),
)
