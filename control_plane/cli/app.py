"""`tfsctl`: every command; all but those in `process` talk HTTP."""

from typing import Annotated

import typer

import control_plane
from control_plane.cli import (
    audit,
    deployments,
    doctor,
    fleets,
    hooks,
    imports,
    look,
    past,
    process,
    registry,
    request_sets,
    rollouts,
    sources,
    strategies,
    tokens,
)
from control_plane.cli.options import Target, grouped

app = typer.Typer(
    name="tfsctl",
    help="Promote and roll back models on TensorFlow Serving without a failed prediction.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
registry.models.add_typer(request_sets.request_sets)
fleets.fleets.add_typer(imports.commands)
for _commands in (
    process.commands,
    deployments.commands,
    past.commands,
    look.commands,
    doctor.commands,
):
    app.add_typer(_commands)
for _group in (
    process.db,
    tokens.tokens,
    audit.audit,
    registry.models,
    registry.versions,
    registry.signatures,
    fleets.fleets,
    fleets.servers,
    sources.sources,
    hooks.hooks,
    rollouts.rollouts,
    strategies.strategies,
):
    app.add_typer(_group)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tfsctl {control_plane.__version__}")
        raise typer.Exit


@app.callback()
@grouped
def root(
    context: typer.Context,
    target: Target,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    """Promote and roll back models on TensorFlow Serving without a failed prediction."""
    del version
    context.obj = target
