"""`tfsctl status`, `history`, `resolve`, `predict`, `events`: look, change nothing."""

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Target, grouped
from control_plane.cli.output import Column as Col
from control_plane.cli.output import (
    Form,
    Row,
    View,
    chosen,
    key,
    say,
    show,
    show_document,
    show_list,
    text_of,
)
from control_plane.cli.past import ANSWERED
from control_plane.cli.registry import ModelName
from control_plane.cli.session import Session, session
from control_plane.client import calls
from control_plane.client.answers import Deployment

commands = typer.Typer()
_POLL_S: Final = 0.3
_MOVING: Final = frozenset({"progressing", "pending", "converging", "waiting"})
STATUS = View(
    (
        key("model"),
        Col("labels", lambda row: row["labels"]),
        Col("versions", lambda row: row["versions"]),
        Col("unlabelled", lambda row: row["unlabelled_version"]),
        Col("phase", lambda row: row["status"]["phase"]),
        Col("sentence", lambda row: row["status"]["sentence"]),
        Col("rollout", lambda row: (row["rollout"] or {}).get("id")),
        key("revision", wide=True),
        key("updated_at", wide=True),
        key("updated_by", wide=True),
    ),
    lambda row: row["model"],
)


def _served(changes: Mapping[str, Row | None]) -> str:
    """What a revision serves of the models that it changes."""
    return "; ".join(
        f"{model}: {text_of(one['labels']) or 'no labels'} of {text_of(one['versions'])}"
        if one
        else f"{model}: nothing"
        for model, one in changes.items()
    )


HISTORY = View(
    (
        key("revision"),
        key("kind"),
        key("actor"),
        key("created_at", "when"),
        Col("serves", lambda row: _served(row["changes"])),
        key("reason"),
        key("parent", wide=True),
    ),
    lambda row: row["revision"],
)
RESOLVED = View(
    (
        key("version"),
        Col("serving", lambda row: f"{row['servers_serving']} of {row['servers_total']} servers"),
        key("moving"),
        key("since"),
        key("servers", "answers", wide=True),
        key("revision", wide=True),
    ),
    lambda row: row["version"],
)
EVENTS = View(
    (
        key("seq"),
        key("at"),
        key("kind"),
        Col("about", lambda row: _about(row)),
        key("actor"),
        key("reason"),
        key("data", wide=True),
    ),
    lambda row: row["seq"],
)


@commands.command("status")
@grouped
def status(
    target: Target,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="one model; without it, all")
    ] = None,
    wait: Annotated[bool, typer.Option(help="wait until nothing moves any more")] = True,
) -> None:
    """Show what is served, once nothing moves any more."""
    with session(target) as here:
        rows = _settled(here, model) if wait else _deployments(here, model)
        if model:
            show(STATUS, rows[0], here.form)
        else:
            show_list(STATUS, rows, here.form)


@commands.command("history")
@grouped
def history(
    target: Target,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="one model; without it, all of the fleet")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="the newest N")] = 50,
    label: Annotated[
        str, typer.Option(help="which versions of MODEL were seen to answer this label")
    ] = "",
    at: Annotated[str, typer.Option(help="with --label: only at this time (RFC 3339)")] = "",
) -> None:
    """List the changes of what is served, or what answered a label, the newest first."""
    if (label and not model) or (at and not label):
        raise typer.BadParameter("--label needs a MODEL, and --at needs a --label")
    with session(target) as here:
        if label:
            seen = here.client.items(calls.label_history(here.fleet, model, label, at))
            show_list(ANSWERED, itertools.islice(seen, limit), here.form)
            return
        found = here.client.items(calls.history(here.fleet, model))
        show_list(HISTORY, itertools.islice(found, limit), here.form)


@commands.command("resolve")
@grouped
def resolve(
    model: ModelName,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="name of the label")],
    target: Target,
) -> None:
    """Say which version a label points to, and who serves it."""
    with session(target) as here:
        show(RESOLVED, here.client.send(calls.resolve(here.fleet, model, label)), here.form)


@commands.command("predict")
@grouped
def predict(
    model: ModelName,
    body: Annotated[
        str, typer.Argument(metavar="JSON", help="TensorFlow Serving's request; - reads stdin")
    ],
    target: Target,
    label: Annotated[str, typer.Option(help="ask the version of this label")] = "",
    version: Annotated[int | None, typer.Option(help="ask this version")] = None,
) -> None:
    """Ask a model, in TensorFlow Serving's REST JSON."""
    if label and version is not None:
        raise typer.BadParameter("give --label or --version, not both")
    text = sys.stdin.read() if body == "-" else body
    with session(target) as here:
        call = calls.predict(here.fleet, model, text.encode(), label=label, version=version)
        show_document(here.client.send(call), here.form)


@commands.command("events")
@grouped
def events(
    target: Target,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as they come")] = False,
    after: Annotated[int | None, typer.Option(help="those after this sequence number")] = None,
    model: Annotated[str, typer.Option(help="about this model only")] = "",
    kind: Annotated[str, typer.Option(help="of this kind only")] = "",
) -> None:
    """Show the journal, the oldest first."""
    with session(target) as here:
        call = calls.events(after=after, fleet=target.fleet or "", model=model, kind=kind)
        if not follow:
            show_list(EVENTS, here.client.items(call), here.form)
            return
        for event in here.client.follow(call):
            _tell(event, here.form)


def _settled(here: Session, model: str | None) -> Sequence[Deployment]:
    until = time.monotonic() + here.timeout_s if here.timeout_s is not None else None
    told = ""
    while True:
        rows = _deployments(here, model)
        moving = [row for row in rows if _moves(row)]
        if not moving:
            return rows
        sentence = "; ".join(f"{row['model']}: {row['status']['sentence']}" for row in moving)
        if sentence != told:
            told = sentence
            say(sentence)
        if until is not None and time.monotonic() > until:
            say("it goes on; --no-wait shows how it is now")
            raise typer.Exit(ExitCode.TIMED_OUT)
        time.sleep(_POLL_S)


def _deployments(here: Session, model: str | None) -> Sequence[Deployment]:
    if model:
        return [here.client.send(calls.deployment(here.fleet, model))]
    return list(here.client.items(calls.deployments(here.fleet)))


def _moves(row: Deployment) -> bool:
    return row["rollout"] is not None or row["status"]["phase"] in _MOVING


def _about(row: Row) -> str:
    names = (row.get(name) for name in ("fleet", "model", "server", "rollout"))
    return "/".join(str(name) for name in names if name)


def _tell(event: Row, form: Form | None) -> None:
    """Print one event on one line, so that it can be followed through a pipe."""
    if chosen(form) in (Form.TABLE, Form.WIDE):
        columns = [one for one in EVENTS.columns if not one.wide or form is Form.WIDE]
        line = "  ".join(text_of(one.cell(event)) for one in columns)
    else:
        line = json.dumps(event, ensure_ascii=False)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
