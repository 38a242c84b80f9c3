"""`tfsctl rollout`: look at rollouts and steer them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import say, show, show_document, show_list, show_whole
from control_plane.cli.session import ROLLOUTS, follow, session
from control_plane.client import calls

rollouts = typer.Typer(name="rollout", help="Rollouts: look and steer.", no_args_is_help=True)
RolloutId = Annotated[str, typer.Argument(metavar="ROLLOUT", help="id of the rollout")]
_VERBS = {
    "pause": "Hold a rollout where it is.",
    "resume": "Let a paused rollout go on.",
    "abort": "End a rollout and go back to where it came from.",
    "approve": "Let a rollout through a gate that waits for a person.",
    "reject": "Refuse a gate that waits for a person; the rollout goes back.",
    "retry": "Start a failed rollout again.",
    "promote-now": "Wait for no bake, gate or approval before the labels moved everywhere.",
}
_PAST_GATES = ("resume", "retry", "promote-now")
BreakGlass = Annotated[
    str, typer.Option(metavar="WHY", help="go on in spite of what only a person may pass")
]


@rollouts.command("list")
@grouped
def list_rollouts(
    target: Target,
    model: Annotated[str, typer.Option(help="of this model only")] = "",
    phase: Annotated[str, typer.Option(help="in this phase only")] = "",
    limit: Annotated[int, typer.Option(min=1, help="the newest N")] = 50,
) -> None:
    """List rollouts, the newest first."""
    with session(target) as here:
        fleet = here.fleet if target.fleet else ""
        found = here.client.items(calls.rollouts(fleet, model, phase))
        show_list(ROLLOUTS, [row for row, _ in zip(found, range(limit), strict=False)], here.form)


@rollouts.command("show")
@grouped
def show_rollout(rollout: RolloutId, target: Target) -> None:
    """Show a rollout, its steps and their evidence."""
    with session(target) as here:
        show_whole(ROLLOUTS, here.client.send(calls.rollout(rollout)), here.form)


@rollouts.command("watch")
@grouped
def watch(rollout: RolloutId, target: Target) -> None:
    """Follow a rollout until it is over; its end is the exit code."""
    with session(target) as here:
        follow(here, here.client.send(calls.rollout(rollout)))


@rollouts.command("evidence")
@grouped
def evidence(
    rollout: RolloutId,
    target: Target,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write one HTML file that needs no other")
    ] = None,
) -> None:
    """Show all that is known of a rollout: who, why, what was sent, answered and seen."""
    with session(target) as here:
        if html is None:
            show_document(here.client.send(calls.evidence(rollout)), here.form)
            return
        html.write_text(here.client.send(calls.evidence(rollout, "text/html")), encoding="utf-8")
        say(f"the evidence of rollout {rollout} is in {html}")


def _steer(verb: str, rollout: str, target: Target, reason: str, break_glass: str = "") -> None:
    with session(target) as here:
        now = here.client.send(calls.steer(rollout, verb, reason, break_glass))["rollout"]
        say(f"rollout {now['id']} is {now['phase']}: {now['sentence']}")
        show(ROLLOUTS, now, here.form)


def _steering(words: str, verb: str) -> Callable[..., None]:
    def steer(rollout: RolloutId, target: Target, change: Change) -> None:
        _steer(verb, rollout, target, change.reason)

    steer.__doc__ = words
    return grouped(steer)


def _going_on(words: str, verb: str) -> Callable[..., None]:
    def go_on(
        rollout: RolloutId, target: Target, change: Change, break_glass: BreakGlass = ""
    ) -> None:
        _steer(verb, rollout, target, change.reason, break_glass)

    go_on.__doc__ = words
    return grouped(go_on)


for _verb, _words in _VERBS.items():
    _made = _going_on if _verb in _PAST_GATES else _steering
    rollouts.command(_verb)(_made(_words, _verb))
