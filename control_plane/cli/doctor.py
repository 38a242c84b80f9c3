"""`tfsctl doctor`: how servers were started, and what to change."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Target, grouped
from control_plane.cli.output import Form, Row, View, chosen, key, show_document, show_list
from control_plane.cli.session import session
from control_plane.client import fleet_calls

commands = typer.Typer()
FINDINGS: Final = View(
    (key("server"), key("check"), key("verdict"), key("found"), key("advice", "what to do")),
    lambda row: f"{row['server']}/{row['check']}",
)


@commands.command("doctor")
@grouped
def doctor(
    target: Target,
    name: Annotated[
        str, typer.Argument(metavar="SERVER", help="one server; without it, all of the fleet")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="the same as -o json")] = False,
) -> None:
    """Say how servers were started as far as that shows, and what to change.

    Ends with code 11 if something is a problem.
    """
    with session(target) as here:
        found = here.client.send(fleet_calls.doctor(here.fleet, name))
        form = Form.JSON if as_json else chosen(here.form)
        if form in (Form.TABLE, Form.WIDE, Form.NAME):
            show_list(FINDINGS, _rows(found), form)
        else:
            show_document(found, form)
    if found["verdict"] == "problem":
        raise typer.Exit(ExitCode.PROBLEM)


def _rows(found: Row) -> Iterable[Row]:
    for server in found.get("servers", [found]):
        for one in server["findings"]:
            yield {**one, "server": server["server"], "advice": one["fix"] or one["find_out"]}
