"""`tfsctl fleet` and `server`: who must serve the same thing, and where they are."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Column, View, key, show_document, show_list, show_whole
from control_plane.cli.registry import Description, pairs
from control_plane.cli.session import remove, session, write
from control_plane.client import calls, fleet_calls
from control_plane.client.calls import FleetSpec, ServerSpec

fleets = typer.Typer(
    name="fleet", help="Servers that must serve the same thing.", no_args_is_help=True
)
servers = typer.Typer(
    name="server", help="TensorFlow Serving processes of a fleet.", no_args_is_help=True
)
FLEETS = View(
    (
        key("name"),
        key("revision"),
        key("storage"),
        key("take_over"),
        key("max_unavailable"),
        key("on_drift", wide=True),
        key("description"),
        key("path_map", wide=True),
        key("boot_config_dir", wide=True),
        key("created_at", wide=True),
    ),
    lambda row: row["name"],
)
SERVERS = View(
    (
        key("name"),
        key("address"),
        key("status"),
        Column("callers", lambda row: "kept away" if row.get("drained") else "welcome", wide=True),
        key("sentence"),
        key("last_seen_at"),
        key("rest_address", wide=True),
        key("memory_bytes", wide=True),
        key("flags", wide=True),
        key("source", wide=True),
    ),
    lambda row: row["name"],
)
FleetName = Annotated[str, typer.Argument(metavar="FLEET", help="name of the fleet")]
ServerName = Annotated[str, typer.Argument(metavar="SERVER", help="name of the server")]
Flag = Annotated[
    list[str] | None,
    typer.Option("--flag", help="NAME=VALUE, one of the server's own flags; may be repeated"),
]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a fleet is like."""

    path_map: Annotated[
        list[str] | None,
        typer.Option("--path-map", help="SERVER_PREFIX=OUR_PREFIX; may be repeated"),
    ] = None
    storage: Annotated[
        str, typer.Option(help="visible, or opaque where we cannot see the servers' files")
    ] = ""
    take_over: Annotated[str, typer.Option(help="ask, or always for each new server")] = ""
    max_unavailable: Annotated[
        int, typer.Option(min=0, help="unreachable servers that a promotion goes on without")
    ] = 0
    boot_config_dir: Annotated[
        str, typer.Option(help="folder, as the servers see it, for configs that they can boot from")
    ] = ""
    description: Description = ""


@fleets.command("add")
@grouped
def add_fleet(name: FleetName, target: Target, change: Change, traits: Traits) -> None:
    """Create a fleet."""
    spec = FleetSpec(
        name,
        description=traits.description,
        path_map=pairs(traits.path_map, "--path-map"),
        storage=traits.storage,
        take_over=traits.take_over,
        max_unavailable=traits.max_unavailable,
        boot_config_dir=traits.boot_config_dir,
    )
    with session(target) as here:
        write(here, calls.add_fleet(spec), change, FLEETS)


@fleets.command("change")
@grouped
def change_fleet(
    name: FleetName,
    target: Target,
    change: Change,
    take_over: Annotated[str | None, typer.Option(help="ask, or always")] = None,
    max_unavailable: Annotated[int | None, typer.Option(min=0)] = None,
    boot_config_dir: Annotated[str | None, typer.Option(help='"" for none')] = None,
    on_drift: Annotated[
        str | None,
        typer.Option(help="somebody else's config on a server: enforce ours, alert, or adopt it"),
    ] = None,
    description: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Change a fleet's settings; what is left out stays."""
    asked: dict[str, Any] = {
        "take_over": take_over,
        "max_unavailable": max_unavailable,
        "boot_config_dir": boot_config_dir,
        "on_drift": on_drift,
        "description": description,
    }
    changes = {field: value for field, value in asked.items() if value is not None}
    with session(target) as here:
        write(here, fleet_calls.change_fleet(name, **changes), change, FLEETS)


@fleets.command("list")
@grouped
def list_fleets(target: Target) -> None:
    """List fleets."""
    with session(target) as here:
        show_list(FLEETS, here.client.items(calls.fleets()), here.form)


@fleets.command("show")
@grouped
def show_fleet(name: FleetName, target: Target) -> None:
    """Show a fleet."""
    with session(target) as here:
        show_whole(FLEETS, here.client.send(calls.fleet(name)), here.form)


@fleets.command("delete")
@grouped
def delete_fleet(name: FleetName, target: Target, change: Change) -> None:
    """Delete a fleet without servers and deployments."""
    with session(target) as here:
        remove(here, calls.delete_fleet(name), change, f"fleet {name}")


@servers.command("add")
@grouped
def add_server(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="host:port of its gRPC")],
    target: Target,
    change: Change,
    name: Annotated[str, typer.Option(help="its name; without it, made from the address")] = "",
    take_over: Annotated[
        bool, typer.Option("--take-over", help="let the control plane push to it at once")
    ] = False,
    rest_address: Annotated[str, typer.Option(help="host:port of its REST, if it has one")] = "",
    flag: Flag = None,
) -> None:
    """Register a server; nothing is pushed to it before it is taken over."""
    spec = ServerSpec(
        address, name=name, rest_address=rest_address, take_over=take_over, flags=flags_of(flag)
    )
    with session(target) as here:
        write(here, calls.add_server(here.fleet, spec), change, SERVERS)


@servers.command("change")
@grouped
def change_server(
    name: ServerName,
    target: Target,
    change: Change,
    rest_address: Annotated[
        str | None, typer.Option(help='host:port of its REST; "" where it has none any more')
    ] = None,
    memory_bytes: Annotated[int | None, typer.Option(min=1, help="what it may use")] = None,
    flag: Flag = None,
) -> None:
    """Say what is known of a server; what is left out stays, and `--flag NAME=null` forgets."""
    changes: dict[str, Any] = {"rest_address": rest_address, "memory_bytes": memory_bytes}
    if flag:
        changes["flags"] = flags_of(flag)
    given = {key: value for key, value in changes.items() if value is not None}
    with session(target) as here:
        write(here, fleet_calls.change_server(here.fleet, name, given), change, SERVERS)


@servers.command("take-over")
@grouped
def take_over_server(name: ServerName, target: Target, change: Change) -> None:
    """Let the control plane push to a server; its whole config is ours from then on."""
    with session(target) as here:
        call = calls.change_server(here.fleet, name, take_over=True)
        write(here, call, change, SERVERS)


@servers.command("drain")
@grouped
def drain_server(name: ServerName, target: Target, change: Change) -> None:
    """Keep callers away from a server; it is still brought to what it should serve."""
    with session(target) as here:
        call = fleet_calls.drain_server(here.fleet, name, change.reason)
        write(here, call, change, SERVERS)


@servers.command("enforce")
@grouped
def enforce(name: ServerName, target: Target, change: Change) -> None:
    """Put our config back on a server that drifted, or where that was paused."""
    with session(target) as here:
        write(here, fleet_calls.enforce(here.fleet, name, change.reason), change, SERVERS)


@servers.command("undrain")
@grouped
def undrain_server(name: ServerName, target: Target, change: Change) -> None:
    """Let callers go to a server again."""
    with session(target) as here:
        call = fleet_calls.undrain_server(here.fleet, name, change.reason)
        write(here, call, change, SERVERS)


@servers.command("list")
@grouped
def list_servers(target: Target) -> None:
    """List the servers of a fleet and how they are."""
    with session(target) as here:
        show_list(SERVERS, here.client.items(calls.servers(here.fleet)), here.form)


@servers.command("show")
@grouped
def show_server(
    name: ServerName,
    target: Target,
    config: Annotated[
        bool, typer.Option("--config", help="print the config that it should have")
    ] = False,
) -> None:
    """Show a server, what it serves and what is going on there."""
    with session(target) as here:
        if config:
            show_document(here.client.send(calls.config(here.fleet, name)), here.form)
        else:
            show_whole(SERVERS, here.client.send(calls.server(here.fleet, name)), here.form)


@servers.command("remove")
@grouped
def remove_server(name: ServerName, target: Target, change: Change) -> None:
    """Forget a server; the process keeps serving what it serves."""
    with session(target) as here:
        remove(here, calls.remove_server(here.fleet, name), change, f"server {name}")


def flags_of(given: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE of flags; `null` forgets one."""
    return {name: _flag_value(text) for name, text in pairs(given, "--flag").items()}


def _flag_value(text: str) -> bool | int | float | str | None:
    if text == "null":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
