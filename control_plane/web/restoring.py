"""Going back to a whole state of a fleet: its plan first, and what was agreed to or nothing."""

from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from control_plane.domain.errors import NotFound, PlanChanged, Rejected
from control_plane.services import deployments, guards, timeline
from control_plane.services.access import Role
from control_plane.services.changes import Call, Outcome, Planned, Started
from control_plane.services.deployments import RestoreRequest
from control_plane.services.kept_plans import agreed_to
from control_plane.services.plan_view import plan_json
from control_plane.web.plan import groups_of, moves_of
from control_plane.web.visit import Place, Visit

Json = dict[str, Any]
MOST_REASON: Final = 1_024
_NOBODY: Final = "plan"


async def _plan(visit: Visit) -> Response:
    query = visit.request.query_params
    return await _planned(visit, query, refused=None)


async def _planned(visit: Visit, given: Any, refused: Rejected | None) -> Response:
    fleet, number = _which(given)
    await timeline.revision(visit.site.db, fleet, number)
    who = visit.actor.name if visit.actor else _NOBODY
    call = Call(who, visit.site.clock(), visit.site.new_id(), dry_run=True)
    plan: Json | None = None
    stopped: Rejected | None = None
    try:
        outcome = await _restore(visit, fleet, number, given, call)
        plan = plan_json(outcome) if isinstance(outcome, Planned) else None
    except Rejected as error:
        stopped = error
    return visit.page(
        "history/restore.html",
        visit.site.status_of(type(refused)) if refused else 200,
        fleet=fleet,
        number=number,
        given={name: given.get(name, "") for name in ("prune", "force", "reason")},
        changed=refused is not None,
        error=stopped,
        may_operate=visit.may(Role.OPERATOR),
        **_told(plan, f"tfsctl restore {number} --fleet {fleet}"),
    )


def _told(plan: Json | None, command: str) -> Json:
    """What `plan/outcome.html` shows."""
    steps = zip(plan["steps"], plan["specs"], strict=True) if plan else ()
    told = [{"name": name, "spec": spec} for name, spec in steps]
    return {
        "plan": plan,
        "moves": moves_of(plan, "") if plan else [],
        "groups": groups_of(plan["reloads"]) if plan else [],
        "people": [one for one in told if one["name"] == "approve"],
        "steps": told,
        "overrides": [],
        "frozen": False,
        "commands": (("tfsctl", command),),
    }


async def _go(visit: Visit) -> Response:
    form = await visit.form()
    fleet, number = _which(form)
    call = visit.call(form.get("reason", "").strip()[:MOST_REASON])
    call = replace(call, agreed=agreed_to(form.get("plan_hash", "")))
    try:
        outcome = await _restore(visit, fleet, number, form, call)
    except PlanChanged as error:
        return await _planned(visit, form, refused=error)
    visit.changed(fleet)
    page = ""
    if isinstance(outcome, Started):
        page = visit.link("rollout", id=outcome.rollout.id)
    return visit.go(page or visit.link("fleet", fleet=fleet))


async def _restore(visit: Visit, fleet: str, number: int, given: Any, call: Call) -> Outcome:
    request = RestoreRequest(prune=bool(given.get("prune")), force=bool(given.get("force")))
    if not request.force:
        await guards.refuse_changed_files(visit.site.db, fleet, number)
    return await deployments.restore(visit.site.db, fleet, number, request, call)


def _which(given: Any) -> tuple[str, int]:
    """Return the fleet and the revision that an address or a form names.

    Raises:
        NotFound: it names none.
    """
    number = given.get("revision", "")
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 10):
        raise NotFound("no such revision")
    return given.get("fleet", ""), int(number)


PLACES: Final = (
    Place("/history/restore", "restore_plan", _plan),
    Place("/ui/restore", "restore", _go, "POST"),
)
