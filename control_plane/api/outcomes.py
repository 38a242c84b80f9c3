"""Answers to changes of what is served: work begun, nothing to change, or the plan of a dry run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fastapi import Response

from control_plane.api.deps import Answer, Write
from control_plane.api.parts import Running
from control_plane.domain.rollout import Rollout
from control_plane.failpoints import failpoint
from control_plane.services import rollouts
from control_plane.services.access import TokenKind
from control_plane.services.changes import Call, Keep, Outcome, Planned, Started, Unchanged
from control_plane.services.kept_plans import agreed_to
from control_plane.services.plan_view import plan_json
from control_plane.services.rollout_view import rollout_json

_LOOK_S: Final = 2.0  # how often a held answer looks for itself, should the feed be late


def call_of(write: Write, reason: str, plan_hash: str = "", break_glass: str = "") -> Call:
    """Who asks for a change, when and why, and for which plan."""
    return Call(
        actor=write.actor.name,
        now=write.now,
        new_id=write.running.parts.new_id(),
        reason=reason,
        dry_run=write.dry_run,
        if_match=write.if_match,
        break_glass=break_glass,
        automatic=write.actor.kind is TokenKind.SERVICE,
        agreed=agreed_to(plan_hash) if plan_hash else None,
    )


async def carried_out(
    write: Write, fleet: str, use_case: Callable[[Keep], Awaitable[Outcome]]
) -> Response:
    """Carry a change out once, nudge the loop, and hold the answer as the caller prefers."""
    answer = await write.once(use_case, outcome_answer)
    if not write.dry_run:
        await failpoint("wakeup.before_nudge")
        write.running.parts.reconciler.nudge(fleet)
        await failpoint("wakeup.nudged")
    return (await held(write, answer)).response()


def outcome_answer(outcome: Outcome) -> Answer:
    """The answer that an outcome gets."""
    match outcome:
        case Started(rollout, revision, warnings):
            headers = {"ETag": f'"{revision.number}"', "Location": f"/api/v1/rollouts/{rollout.id}"}
            body = {
                "changed": True,
                "revision": revision.number,
                "rollout": rollout_json(rollout),
                "warnings": list(warnings),
            }
            return Answer(202 if rollout.phase.live else 200, body, headers)
        case Planned():
            told = {"changed": False, "dry_run": True, "would_change": True}
            return Answer(200, told | {"plan": plan_json(outcome)})
        case Unchanged():
            return Answer(200, {"changed": False})


async def held(write: Write, answer: Answer) -> Answer:
    """Hold an answer about work under way until that is over, as `Prefer: wait` asks."""
    if answer.status != 202 or not write.wait_s:
        return answer
    rollout = await until_over(write.running, answer.body["rollout"]["id"], write.wait_s)
    await write.running.resolved.refresh(rollout.fleet)
    return replace(
        answer,
        status=202 if rollout.phase.live else 200,
        body=answer.body | {"rollout": rollout_json(rollout)},
        headers={**answer.headers, "Preference-Applied": "wait"},
    )


async def until_over(running: Running, rollout_id: str, wait_s: float) -> Rollout:
    """Return a rollout when it is over, or as it stands when the time is."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + wait_s
    while True:
        seen = running.feed.seq
        rollout = await rollouts.show(running.parts.db, rollout_id)
        left_s = ends_at - loop.time()
        if not rollout.phase.live or left_s <= 0 or running.feed.closed:
            return rollout
        await running.feed.after(seen, min(left_s, _LOOK_S))
