"""`tfsctl restore`, `resume-hold`, and how `tfsctl history --label` shows what answered a label."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from control_plane.cli.options import Change, Target, Waiting, grouped
from control_plane.cli.output import Column as Col
from control_plane.cli.output import View, key
from control_plane.cli.registry import ModelName
from control_plane.cli.session import confirm, session, start, write
from control_plane.client import calls

commands = typer.Typer()
ANSWERED: Final = View(
    (
        key("version"),
        key("since"),
        Col("until", lambda row: row["until"] or "now"),
        key("servers"),
        key("actor", "moved by"),
        key("reason", "why"),
        key("revision"),
        key("rollout", wide=True),
        key("spans", wide=True),
    ),
    lambda row: row["version"],
)

RESUMED: Final = View(
    (key("changed"), Col("resumed", lambda row: [one["version"] for one in row["resumed"]])),
    lambda row: ",".join(str(one["version"]) for one in row["resumed"]),
)


@dataclass(frozen=True, slots=True)
class Back:
    """How far a restore goes."""

    prune: Annotated[
        bool, typer.Option("--prune", help="also take away models that are newer than it")
    ] = False
    force: Annotated[
        bool,
        typer.Option("--force", help="also to what never succeeded, or whose files changed since"),
    ] = False


@commands.command("restore")
@grouped
def restore(
    revision: Annotated[int, typer.Argument(metavar="REVISION", min=1, help="see tfsctl history")],
    back: Back,
    target: Target,
    change: Change,
    waiting: Waiting,
) -> None:
    """Bring a whole fleet back to what it should have served at a revision."""
    with session(target) as here:
        call = calls.restore(
            here.fleet,
            revision,
            prune=back.prune,
            force=back.force,
            plan_hash=waiting.plan_hash,
            reason=change.reason,
        )
        confirm(f"Bring fleet {here.fleet} back to revision {revision}?", change)
        start(here, call, change, waiting)


@commands.command("resume-hold")
@grouped
def resume_hold(
    model: ModelName,
    target: Target,
    change: Change,
    label: Annotated[str, typer.Option(help="the label that was rolled back")] = "stable",
    version: Annotated[
        int | None, typer.Option(help="only this version (default: all that are held)")
    ] = None,
) -> None:
    """Let policies and services promote again what was rolled back from."""
    with session(target) as here:
        call = calls.resume_hold(
            here.fleet, model, label=label, version=version, reason=change.reason
        )
        write(here, call, change, RESUMED)
