"""`tfsctl hook`: what is run at the moments of rollouts."""

from typing import Annotated, Any

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Column, View, key, show_list, show_whole
from control_plane.cli.session import remove, session, write
from control_plane.client import hook_calls as calls

hooks = typer.Typer(
    name="hook", help="Hooks: what is run at the moments of rollouts.", no_args_is_help=True
)
HOOKS = View(
    (
        key("name"),
        key("moment"),
        Column("does", lambda row: _does(row)),
        key("fleet"),
        key("model"),
        key("scope"),
        key("order", wide=True),
        key("timeout_s", wide=True),
        key("retries", wide=True),
        key("on_failure"),
    ),
    lambda row: row["name"],
)
RUNS = View(
    (
        key("rollout"),
        key("moment"),
        key("server"),
        key("version"),
        key("state"),
        key("attempts"),
        key("duration_s"),
        key("sentence"),
        key("request_id", wide=True),
        key("started_at", wide=True),
    ),
    lambda row: row["request_id"],
)
HookName = Annotated[str, typer.Argument(metavar="HOOK", help="name of the hook")]


@hooks.command("list")
@grouped
def list_hooks(target: Target) -> None:
    """List hooks."""
    with session(target) as here:
        fleet = here.fleet if target.fleet else ""
        show_list(HOOKS, here.client.items(calls.hooks(fleet)), here.form)


@hooks.command("show")
@grouped
def show_hook(name: HookName, target: Target) -> None:
    """Show a hook."""
    with session(target) as here:
        show_whole(HOOKS, here.client.send(calls.hook(name)), here.form)


@hooks.command("add")
@grouped
def add(
    name: HookName,
    target: Target,
    change: Change,
    moment: Annotated[str, typer.Option(help="before_load, after_load, before_promote, …")],
    url: Annotated[str, typer.Option(help="URL to send a POST to")] = "",
    command: Annotated[str, typer.Option(help="name in the server's file of commands")] = "",
    warm_up: Annotated[bool, typer.Option("--warm-up", help="send warm-up requests")] = False,
    model: Annotated[str, typer.Option(help="for this model only")] = "",
    scope: Annotated[str, typer.Option(help="rollout or server")] = "",
    order: Annotated[int, typer.Option(help="lower ones go first")] = 0,
    within: Annotated[float, typer.Option(help="seconds that it may take")] = 10.0,
    retries: Annotated[int, typer.Option(help="after a 5xx or a timeout")] = 2,
    on_failure: Annotated[str, typer.Option(help="abort or continue")] = "",
    fail_if_header: Annotated[str, typer.Option(help="header that makes a 2xx a failure")] = "",
    fail_if_json: Annotated[str, typer.Option(help="field that makes a 2xx a failure")] = "",
    event: Annotated[list[str] | None, typer.Option(help="kind, for on_event")] = None,
) -> None:
    """Create a hook for rollouts and events that come after it."""
    rule = {"header": fail_if_header, "json": fail_if_json}
    document: dict[str, Any] = {
        "name": name,
        "moment": moment,
        "http": {"url": url} if url else None,
        "command": command,
        "builtin": "warm_up" if warm_up else "",
        "model": model,
        "scope": scope,
        "on_failure": on_failure,
        "fail_if": {place: one for place, one in rule.items() if one},
        "events": event,
    }
    with session(target) as here:
        told = {field: value for field, value in document.items() if value}
        told |= {"fleet": here.fleet, "order": order, "timeout_s": within, "retries": retries}
        write(here, calls.add_hook(told), change, HOOKS)


@hooks.command("delete")
@grouped
def delete(name: HookName, target: Target, change: Change) -> None:
    """Delete a hook; what waits for it goes on without it."""
    with session(target) as here:
        remove(here, calls.delete_hook(name), change, f"hook {name}")


@hooks.command("runs")
@grouped
def list_runs(name: HookName, target: Target) -> None:
    """List the newest runs of a hook; `-o json` has their output."""
    with session(target) as here:
        show_list(RUNS, here.client.items(calls.hook_runs(name)), here.form)


def _does(row: Any) -> str:
    if http := row.get("http"):
        return f"{http['method']} {http['url']}"
    command = row.get("command")
    return f"command {command}" if command else str(row.get("builtin"))
