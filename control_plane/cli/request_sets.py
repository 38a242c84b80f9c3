"""`tfsctl model request-set`: recorded requests that gates replay."""

from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import View, key, show_list, show_whole
from control_plane.cli.registry import ModelName
from control_plane.cli.session import remove, session, write
from control_plane.client import request_set_calls as calls

request_sets = typer.Typer(
    name="request-set", help="Recorded requests that gates replay.", no_args_is_help=True
)
REQUEST_SETS = View(
    (
        key("model"),
        key("name"),
        key("form"),
        key("records"),
        key("size_bytes"),
        key("created_at"),
        key("created_by", wide=True),
        key("sha256", wide=True),
    ),
    lambda row: row["name"],
)
SetName = Annotated[str, typer.Argument(metavar="NAME", help="name of the set")]


@request_sets.command("add")
@grouped
def add_request_set(
    model: ModelName,
    name: SetName,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="TFRecord of PredictionLog, or JSON predict bodies, one per line"
        ),
    ],
    target: Target,
    change: Change,
) -> None:
    """Upload recorded requests from a TFRecord file of PredictionLog, or JSON, one per line."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    with session(target) as here:
        write(here, calls.add_request_set(model, name, content), change, REQUEST_SETS)


@request_sets.command("list")
@grouped
def list_request_sets(model: ModelName, target: Target) -> None:
    """List a model's request sets."""
    with session(target) as here:
        show_list(REQUEST_SETS, here.client.items(calls.request_sets(model)), here.form)


@request_sets.command("show")
@grouped
def show_request_set(model: ModelName, name: SetName, target: Target) -> None:
    """Show a request set, without its requests."""
    with session(target) as here:
        show_whole(REQUEST_SETS, here.client.send(calls.request_set(model, name)), here.form)


@request_sets.command("delete")
@grouped
def delete_request_set(model: ModelName, name: SetName, target: Target, change: Change) -> None:
    """Delete a request set; a gate that names it fails from then on."""
    with session(target) as here:
        call = calls.delete_request_set(model, name)
        remove(here, call, change, f"request set {name} of {model}")
