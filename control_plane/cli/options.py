"""Groups of options that commands share; `grouped` lets a command take a group as one argument."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, get_type_hints

import typer

from control_plane.cli.exits import ExitCode, of_error
from control_plane.cli.output import Form, complain, say
from control_plane.client import ClientError
from control_plane.domain.errors import ControlPlaneError

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send commands and how to show what comes back; every command takes these."""

    server: Annotated[
        str | None, typer.Option(help="URL of the control plane (env: TFSCTL_SERVER)")
    ] = None
    token: Annotated[
        str | None, typer.Option(help="bearer token (env: TFSCTL_TOKEN)", show_default=False)
    ] = None
    fleet: Annotated[
        str | None, typer.Option(help="fleet (env: TFSCTL_FLEET; default: default)")
    ] = None
    output: Annotated[
        Form | None,
        typer.Option("--output", "-o", help="form of the data (default: table on a terminal)"),
    ] = None
    timeout: Annotated[
        float | None, typer.Option(min=0, help="seconds to wait at most", show_default=False)
    ] = None


@dataclass(frozen=True, slots=True)
class Change:
    """How to carry out a write."""

    reason: Annotated[str, typer.Option(help="why; kept in the history")] = ""
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the plan, change nothing")] = (
        False
    )
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="with --dry-run: 10 if there would be changes")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a rollout begins, and whether to stay until it is over."""

    wait: Annotated[bool, typer.Option(help="wait until the rollout is over")] = True
    plan_hash: Annotated[str, typer.Option(help="refuse if the plan is not this one")] = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """What a rollout may do that it otherwise may not."""

    supersede: Annotated[
        bool, typer.Option("--supersede", help="end a live rollout of the same model")
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="go on although something could not be checked")
    ] = False
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="go on although signatures break callers")
    ] = False
    break_glass: Annotated[
        str, typer.Option(metavar="WHY", help="go on in spite of a freeze; kept in the history")
    ] = ""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Flatten parameters that are option groups, and turn errors into words and exit codes."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        one.name: one.annotation
        for one in signature.parameters.values()
        if is_dataclass(one.annotation)
    }
    flat: list[inspect.Parameter] = []
    for one in signature.parameters.values():
        flat.extend(
            _options(groups[one.name]) if one.name in groups else [one.replace(kind=_KEYWORD)]
        )

    asks_for_context = "context" in signature.parameters

    @functools.wraps(command)
    def run(context: typer.Context, **values: Any) -> None:
        gathered = {
            name: group(**{one.name: values.pop(one.name) for one in fields(group)})
            for name, group in groups.items()
        }
        completed = {name: _completed(group, context.obj) for name, group in gathered.items()}
        if asks_for_context:
            values["context"] = context
        _guarded(functools.partial(command, **values, **completed))

    if not asks_for_context:
        flat.append(inspect.Parameter("context", _KEYWORD, annotation=typer.Context))
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _completed(group: Any, before: object) -> Any:
    """Options given before the command's name fill in those not given after it."""
    if not (isinstance(group, Target) and isinstance(before, Target)):
        return group
    return replace(
        group,
        **{
            one.name: getattr(before, one.name)
            for one in fields(group)
            if getattr(group, one.name) is None
        },
    )


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            _KEYWORD,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(group)
    ]


def _guarded(command: Callable[[], None]) -> None:
    try:
        command()
    except (ClientError, ControlPlaneError) as error:
        complain(error)
        raise typer.Exit(of_error(error)) from None
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
