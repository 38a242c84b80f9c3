"""`tfsctl audit`: who changed what, and whether the chain of records is whole."""

import json
import sys
from typing import Annotated

import typer

from control_plane import settings
from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Target, grouped
from control_plane.cli.output import Column, View, key, say, show
from control_plane.cli.process import DatabaseUrl, DataDir
from control_plane.cli.session import session
from control_plane.client import audit_calls

audit = typer.Typer(
    name="audit", help="Who changed what, in a chain that shows tampering.", no_args_is_help=True
)
VERDICT = View(
    (key("ok"), key("checked"), key("wrong"), Column("faults", lambda row: row["faults"])),
    lambda row: "ok" if row["ok"] else "tampered",
)


@audit.command("verify")
@grouped
def verify(
    target: Target,
    offline: Annotated[
        bool, typer.Option("--offline", help="read the database itself; needs the audit key")
    ] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Check every record of the chain, its head, and the anchors."""
    if offline:
        from control_plane import auditing

        found = auditing.verify(settings.load(database_url=database_url, data_dir=data_dir))
        show(VERDICT, found, target.output)
    else:
        with session(target) as here:
            found = dict(here.client.send(audit_calls.verify_audit()))
            show(VERDICT, found, here.form)
    for fault in () if found["ok"] else found["faults"]:
        say(fault)
    if not found["ok"]:
        raise typer.Exit(ExitCode.PROBLEM)


@audit.command("export")
@grouped
def export(
    target: Target,
    actor: Annotated[str, typer.Option(help="by this actor only")] = "",
    request: Annotated[str, typer.Option(help="of this request only")] = "",
    since: Annotated[str, typer.Option(help="not before this time (RFC 3339)")] = "",
    until: Annotated[str, typer.Option(help="before this time (RFC 3339)")] = "",
) -> None:
    """Print records as JSON, one on each line, the newest first."""
    wanted = {"actor": actor, "request": request, "since": since, "until": until}
    with session(target) as here:
        for one in here.client.items(audit_calls.audit(**wanted)):
            sys.stdout.write(json.dumps(one, ensure_ascii=False) + "\n")
