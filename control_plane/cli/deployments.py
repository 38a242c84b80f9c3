"""`tfsctl deploy`, `retire`, `undeploy`, `promote`, `rollback`: what a fleet should serve."""

from dataclasses import dataclass
from typing import Annotated

import typer

from control_plane.cli.options import Change, Leave, Target, Waiting, grouped
from control_plane.cli.registry import ModelName, pairs
from control_plane.cli.session import confirm, session, start
from control_plane.client import calls
from control_plane.client.calls import DeploymentSpec, Promotion, Rollback

commands = typer.Typer()
LabelName = Annotated[str, typer.Option("--label", help="the label to move")]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a fleet should serve of a model."""

    versions: Annotated[str, typer.Option(help="versions to load, with commas: 1,2")]
    label: Annotated[
        list[str] | None, typer.Option("--label", help="LABEL=VERSION; may be repeated")
    ] = None
    keep_previous: Annotated[
        int | None,
        typer.Option(min=0, help="how many versions that were stable before stay loaded"),
    ] = None


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a promotion goes."""

    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="the version to move the label to")
    ] = None
    label: LabelName = "stable"
    from_label: Annotated[
        str, typer.Option("--from", help="move it to where this label points, instead")
    ] = ""
    expect: Annotated[
        int | None, typer.Option(help="refuse unless the label points to this version now")
    ] = None
    strategy: Annotated[
        str, typer.Option(help="the steps to take (default: the model's own)", show_default=False)
    ] = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How far a rollback goes; without any, to the version before."""

    label: LabelName = "stable"
    to_version: Annotated[int | None, typer.Option(help="back to this version")] = None
    to_revision: Annotated[int | None, typer.Option(help="back to where this revision had it")] = (
        None
    )
    to_time: Annotated[str, typer.Option(help="back to where it was then (RFC 3339)")] = ""
    only: Annotated[
        bool, typer.Option("--only", help="leave what was promoted together with it where it is")
    ] = False


@commands.command("deploy")
@grouped
def deploy(
    model: ModelName,
    wish: Wish,
    target: Target,
    change: Change,
    waiting: Waiting,
    leave: Leave,
) -> None:
    """Say by hand what the fleet should serve of a model."""
    labels = pairs(wish.label, "--label")
    spec = DeploymentSpec(
        [_number(one, "--versions") for one in wish.versions.split(",")],
        {name: _number(one, "--label") for name, one in labels.items()},
        keep_previous=wish.keep_previous,
        reason=change.reason,
        force=leave.force,
        supersede=leave.supersede,
        allow_breaking=leave.allow_breaking,
        break_glass=leave.break_glass,
        plan_hash=waiting.plan_hash,
    )
    with session(target) as here:
        start(here, calls.deploy(here.fleet, model, spec), change, waiting)


@commands.command("retire")
@grouped
def retire(
    model: ModelName,
    versions: Annotated[
        list[int], typer.Argument(metavar="VERSION...", help="versions that no label points to")
    ],
    target: Target,
    change: Change,
    waiting: Waiting,
) -> None:
    """Unload versions."""
    with session(target) as here:
        call = calls.retire(here.fleet, model, versions, change.reason, waiting.plan_hash)
        start(here, call, change, waiting)


@commands.command("undeploy")
@grouped
def undeploy(model: ModelName, target: Target, change: Change, waiting: Waiting) -> None:
    """Serve nothing of a model any more."""
    with session(target) as here:
        confirm(f"Unload every version of {model} from fleet {here.fleet}?", change)
        call = calls.undeploy(here.fleet, model, change.reason, waiting.plan_hash)
        start(here, call, change, waiting)


@commands.command("promote")
@grouped
def promote(
    model: ModelName,
    goal: Goal,
    target: Target,
    change: Change,
    waiting: Waiting,
    leave: Leave,
) -> None:
    """Move a label forward, to a version or to where another label points."""
    promotion = Promotion(
        version=goal.version,
        from_label=goal.from_label,
        label=goal.label,
        expect=goal.expect,
        supersede=leave.supersede,
        allow_breaking=leave.allow_breaking,
        break_glass=leave.break_glass,
        force=leave.force,
        plan_hash=waiting.plan_hash,
        strategy=goal.strategy,
        reason=change.reason,
    )
    with session(target) as here:
        start(here, calls.promote(here.fleet, model, promotion), change, waiting)


@commands.command("rollback")
@commands.command("undo", hidden=True)
@grouped
def roll_back(model: ModelName, way: Way, target: Target, change: Change, waiting: Waiting) -> None:
    """Move a label back. Nothing but a missing target stops it."""
    rollback = Rollback(
        label=way.label,
        to_version=way.to_version,
        to_revision=way.to_revision,
        to_time=way.to_time,
        only=way.only,
        plan_hash=waiting.plan_hash,
        reason=change.reason,
    )
    with session(target) as here:
        start(here, calls.roll_back(here.fleet, model, rollback), change, waiting)


def _number(text: str, option: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{option}: {text!r} is not a version number") from None
