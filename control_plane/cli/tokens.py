"""`tfsctl token`: who may use the API."""

from typing import Annotated

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Form, View, chosen, key, say, show, show_list
from control_plane.cli.session import remove, session
from control_plane.client import calls

tokens = typer.Typer(name="token", help="Who may use the API.", no_args_is_help=True)
TOKENS = View(
    (
        key("name"),
        key("role"),
        key("kind"),
        key("created_at"),
        key("expires_at"),
        key("revoked_at"),
        key("last_used_at"),
    ),
    lambda row: row.get("token") or row["name"],
)
TokenName = Annotated[str, typer.Argument(metavar="NAME", help="name of the token")]


@tokens.command("create")
@grouped
def create(
    name: TokenName,
    role: Annotated[str, typer.Option(help="viewer, operator or admin")],
    target: Target,
    kind: Annotated[str, typer.Option(help="person or service")] = "person",
    expires_in: Annotated[float | None, typer.Option(help="seconds until it expires")] = None,
) -> None:
    """Create a token and print its secret, this once; `-o name` prints the secret alone."""
    with session(target) as here:
        made = here.client.send(calls.add_token(name, role, expires_in, kind))
        if "token" not in made:
            say(f"the answer was lost on its way: run `tfsctl token revoke {name}`, create it anew")
        if chosen(here.form) is Form.TABLE and "token" in made:
            say(f"the token {name} ({role}) is shown this once:")
            show(TOKENS, made, Form.NAME)  # a table would break it at the terminal's edge
        else:
            show(TOKENS, made, here.form)


@tokens.command("list")
@grouped
def list_tokens(target: Target) -> None:
    """List every token, without secrets."""
    with session(target) as here:
        show_list(TOKENS, here.client.items(calls.tokens()), here.form)


@tokens.command("revoke")
@grouped
def revoke(name: TokenName, target: Target, change: Change) -> None:
    """Revoke a token; it works for a few more seconds at most."""
    with session(target) as here:
        remove(here, calls.revoke_token(name), change, f"token {name}")
