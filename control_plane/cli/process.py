"""`tfsctl up`, `serve`, `devserver`, `db`: the commands that are a process of their own."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from control_plane import daemon, settings
from control_plane.cli.options import Target, grouped
from control_plane.cli.output import View, key, say, show_list

commands = typer.Typer()
db = typer.Typer(name="db", help="The database's schema.", no_args_is_help=True)
DataDir = Annotated[
    Path | None, typer.Option(help="folder of models, database and logs (default: .tfsctl)")
]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="sqlite:///FILE or postgresql://… (env: TFSCTL_DATABASE_URL)")
]
MIGRATIONS = View((key("id"), key("title")), lambda row: row["id"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where the control plane listens and what it works on; else the environment's settings."""

    host: Annotated[str | None, typer.Option(help="address to listen on")] = None
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None
    workers: Annotated[int | None, typer.Option(help="number of processes")] = None
    database_url: DatabaseUrl = None
    data_dir: DataDir = None
    auth: Annotated[str | None, typer.Option(help="on, or off (on loopback only)")] = None
    migrate: Annotated[
        bool | None, typer.Option(help="bring the database's schema up to date first")
    ] = None


@commands.command("up")
@grouped
def up(
    data_dir: DataDir = None,
    port: Annotated[int | None, typer.Option(help="port of the API and dashboard")] = None,
    servers: Annotated[int, typer.Option(min=1, max=16, help="number of dev servers")] = 2,
) -> None:
    """Run everything: example models, dev servers, the control plane. Ctrl-C ends all of it."""
    from control_plane.quick_start import up as run

    run(settings.load(data_dir=data_dir, port=port, auth="off", workers=1), servers)


@commands.command("serve")
@grouped
def serve(place: Place) -> None:
    """Run the control plane."""
    daemon.become(asdict(place))


@commands.command(
    "devserver",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def devserver(context: typer.Context) -> None:
    """Run a model server for a laptop; takes TensorFlow Serving's flags, with underscores."""
    command = [sys.executable, "-m", "control_plane.devserver", *context.args]
    os.execv(sys.executable, command)  # noqa: S606 - our own module, no shell


@db.command("upgrade")
@grouped
def upgrade(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Bring the schema up to date."""
    from control_plane import upkeep

    chosen = settings.load(database_url=database_url, data_dir=data_dir)
    say(f"the database is at {upkeep.upgrade(chosen)}")


@db.command("current")
@grouped
def current(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Print which migration the database is at."""
    from control_plane import upkeep

    chosen = settings.load(database_url=database_url, data_dir=data_dir)
    typer.echo(upkeep.current(chosen) or "empty")


@db.command("history")
@grouped
def history(target: Target) -> None:
    """List the migrations, the oldest first."""
    from control_plane import upkeep

    show_list(MIGRATIONS, [asdict(one) for one in upkeep.history()], target.output)


@db.command("backup")
@grouped
def backup(
    file: Annotated[Path, typer.Argument(help="file to write; must not exist")],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Copy a SQLite database while it is in use."""
    from control_plane import upkeep

    upkeep.backup(settings.load(database_url=database_url, data_dir=data_dir), file)
    say(f"the copy is in {file}")
