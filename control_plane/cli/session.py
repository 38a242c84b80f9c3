"""What a command works with, and how every write is carried out: rehearsed, done, or followed."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import typer

from control_plane.cli import exits
from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Change, Target, Waiting
from control_plane.cli.output import Column, Form, View, key, say, show, show_document
from control_plane.cli.plans import plan_text, would_change
from control_plane.cli.progress import watched
from control_plane.client import Call, Client
from control_plane.client.answers import Rollout, Started

DEFAULT_SERVER: Final = "http://127.0.0.1:8080"
_REQUEST_S: Final = 60.0
ROLLOUTS: Final = View(
    (
        key("id"),
        key("fleet"),
        Column("model", lambda row: row["models"]),
        key("kind"),
        key("phase"),
        key("sentence"),
        key("from_revision", wide=True),
        key("to_revision", wide=True),
        key("actor", wide=True),
        key("created_at", wide=True),
        key("ended_at", wide=True),
        key("laggards", wide=True),
    ),
    lambda row: row["id"],
)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's connection and choices."""

    client: Client
    fleet: str
    form: Form | None
    timeout_s: float | None  # how long to wait at most; None: until it is over


@contextmanager
def session(target: Target) -> Iterator[Session]:
    """Open the connection that the options and the environment ask for."""
    url = target.server or os.environ.get("TFSCTL_SERVER") or DEFAULT_SERVER
    token = target.token or os.environ.get("TFSCTL_TOKEN", "")
    fleet = target.fleet or os.environ.get("TFSCTL_FLEET") or "default"
    with Client(url, token=token, timeout_s=_REQUEST_S) as client:
        yield Session(client, fleet, target.output, target.timeout)


def confirm(question: str, change: Change) -> None:
    """Ask before something is lost, where a person is there to ask."""
    if change.yes or change.dry_run or not sys.stdin.isatty():
        return
    typer.confirm(question, abort=True, err=True)


def write(here: Session, call: Call[Any], change: Change, view: View) -> None:
    """Make a write that starts no rollout, and show what came of it."""
    if change.dry_run:
        _rehearse(here, call, change)
    result = here.client.send(call)
    if isinstance(result, Mapping):
        show(view, result, here.form)


def remove(here: Session, call: Call[Any], change: Change, what: str) -> None:
    """Remove something; nothing is left to show."""
    confirm(f"Remove {what}?", change)
    if change.dry_run:
        _rehearse(here, call, change)
    here.client.send(call)
    say(f"{what} is removed")


def start(here: Session, call: Call[Started], change: Change, waiting: Waiting) -> None:
    """Make a write that starts a rollout, and follow it unless told otherwise."""
    if change.dry_run:
        _rehearse(here, call, change)
    started = here.client.send(call)
    for warning in started.get("warnings", ()):
        say(f"warning: {warning}")
    rollout = started.get("rollout")
    if not rollout:
        say("nothing to change")
        show_document({"changed": False}, here.form, as_text="nothing to change")
    elif waiting.wait:
        follow(here, rollout)
    else:
        say(f"rollout {rollout['id']} has begun")
        show(ROLLOUTS, rollout, here.form)


def follow(here: Session, rollout: Rollout) -> NoReturn:
    """Tell a rollout's progress until it is over; its end is the command's."""
    try:
        last = watched(here.client, rollout, here.timeout_s)
    except KeyboardInterrupt:
        again = f"tfsctl rollout watch {rollout['id']}"
        say(f"detached; rollout {rollout['id']} goes on. Follow it with: {again}")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    show(ROLLOUTS, last, here.form)
    if (error := last["error"]) and error not in last["sentence"]:
        say(f"TensorFlow Serving said: {error}")
    raise typer.Exit(exits.of_rollout(last))


def _rehearse(here: Session, call: Call[Any], change: Change) -> NoReturn:
    answer = here.client.send(call.dry()) or {}
    show_document(answer, here.form, as_text=plan_text(answer))
    changes = change.exit_code and would_change(answer)
    raise typer.Exit(ExitCode.WOULD_CHANGE if changes else ExitCode.DONE)
