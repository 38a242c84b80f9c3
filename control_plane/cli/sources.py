"""`tfsctl source`: where the servers of a fleet are found."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from control_plane.cli.fleets import Flag, flags_of
from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Column, View, key, show_list, show_whole
from control_plane.cli.session import remove, session, write
from control_plane.client import source_calls as calls

sources = typer.Typer(
    name="source", help="Sources: where the servers of a fleet are found.", no_args_is_help=True
)
SOURCES = View(
    (
        key("name"),
        key("kind"),
        Column("place", lambda row: row["host"] or row["path"]),
        key("port"),
        key("grace_s"),
        key("status"),
        key("sentence"),
        Column("missing", lambda row: len(row["missing"])),
        Column("refused", lambda row: len(row["refused"])),
        key("take_over", wide=True),
        key("flags", wide=True),
        key("created_by", wide=True),
    ),
    lambda row: row["name"],
)
SourceName = Annotated[str, typer.Argument(metavar="SOURCE", help="name of the source")]
Force = Annotated[bool, typer.Option("--force", help="go on though nothing is found there")]


@dataclass(frozen=True, slots=True)
class Place:
    """Where it looks, and what is so of each server that is new."""

    host: Annotated[str | None, typer.Option(help="the DNS name, of dns and srv")] = None
    path: Annotated[str | None, typer.Option(help="the file, as the control plane sees it")] = None
    port: Annotated[int | None, typer.Option(help="of gRPC, where DNS does not tell")] = None
    family: Annotated[str | None, typer.Option(help="any, ipv4 or ipv6 (default: any)")] = None
    grace_s: Annotated[
        float | None, typer.Option(help="a server that is missing for so long is forgotten")
    ] = None
    take_over: Annotated[
        bool | None,
        typer.Option("--take-over/--ask", help="push to servers at once, or when somebody says so"),
    ] = None
    rest_port: Annotated[int | None, typer.Option(help="of REST, on each server")] = None
    memory_bytes: Annotated[int | None, typer.Option(help="of each server")] = None


@sources.command("list")
@grouped
def list_sources(target: Target) -> None:
    """List the sources of a fleet, and what each brought."""
    with session(target) as here:
        show_list(SOURCES, here.client.items(calls.sources(here.fleet)), here.form)


@sources.command("show")
@grouped
def show_source(name: SourceName, target: Target) -> None:
    """Show a source: what it lists, who is missing, who is refused."""
    with session(target) as here:
        show_whole(SOURCES, here.client.send(calls.source(here.fleet, name)), here.form)


@sources.command("add")
@grouped
def add_source(
    name: SourceName,
    target: Target,
    change: Change,
    place: Place,
    kind: Annotated[str, typer.Option(help="dns, srv or file")],
    flag: Flag = None,
    force: Force = False,
) -> None:
    """Create a source; servers that it lists are registered within seconds."""
    document = {"name": name, "kind": kind, **_given(place, flag, force=force)}
    with session(target) as here:
        write(here, calls.add_source(here.fleet, document), change, SOURCES)


@sources.command("change")
@grouped
def change_source(
    name: SourceName,
    target: Target,
    change: Change,
    place: Place,
    flag: Flag = None,
    force: Force = False,
) -> None:
    """Change a source; servers that it found before keep what it gave them."""
    with session(target) as here:
        call = calls.change_source(here.fleet, name, _given(place, flag, force=force))
        write(here, call, change, SOURCES)


@sources.command("delete")
@grouped
def delete_source(
    name: SourceName,
    target: Target,
    change: Change,
    with_servers: Annotated[
        bool, typer.Option("--with-servers", help="forget the servers that it found, too")
    ] = False,
) -> None:
    """Delete a source; its servers stay, as if somebody had registered them."""
    with session(target) as here:
        call = calls.delete_source(here.fleet, name, with_servers=with_servers)
        remove(here, call, change, f"source {name}")


def _given(place: Place, flag: list[str] | None, *, force: bool) -> dict[str, Any]:
    given = {field: value for field, value in asdict(place).items() if value is not None}
    given |= {"flags": flags_of(flag)} if flag else {}
    return given | ({"force": True} if force else {})
