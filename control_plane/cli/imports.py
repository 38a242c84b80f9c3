"""`tfsctl fleet import`: a `models.config` of servers that run already."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Row, say, show_document, text_of
from control_plane.cli.session import session
from control_plane.client import fleet_calls

commands = typer.Typer()


@commands.command("import")
@grouped
def import_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a models.config; - is stdin")],
    target: Target,
    change: Change,
    label: Annotated[
        list[str] | None,
        typer.Option(help="ask servers for this label too, besides the file's, stable and canary"),
    ] = None,
    only: Annotated[str, typer.Option(help="look at this server of the fleet only")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="register versions whose files are not seen from here")
    ] = False,
) -> None:
    """Take what servers run already, as this file lists it, for what the fleet serves.

    Nothing is pushed; servers that nobody takes over stay only observed.
    """
    with session(target) as here:
        call = fleet_calls.import_config(
            here.fleet, _read(file), labels=label, server=only, force=force, reason=change.reason
        )
        answer = here.client.send(call.dry() if change.dry_run else call)
        found = answer.get("would", answer)
        for warning in found["warnings"]:
            say(f"warning: {warning}")
        show_document(answer, here.form, as_text="\n".join(_lines(found, dry=change.dry_run)))
    if change.dry_run and change.exit_code and found["changed"]:
        raise typer.Exit(ExitCode.WOULD_CHANGE)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def _lines(found: Row, *, dry: bool) -> Iterator[str]:
    done = "nothing is changed yet" if dry else f"revision {found['revision']}"
    yield done if found["changed"] else "all of it is deployed so already"
    for one in found["deployments"]:
        labels = text_of(one["labels"])
        yield f"  {one['model']}: {text_of(one['versions'])}, labels {labels}, {one['base_path']}"
    for one in found["servers"]:
        yield f"{one['server']}, once it is taken over: {one['first']}"
