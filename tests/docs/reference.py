"""Writes the reference pages of `docs/` from the code: `python -m tests.docs.reference`.

The tests compare the pages with what this makes of them.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined
from typer.main import get_command

from control_plane import bootstrap
from control_plane.api import middleware, problems
from control_plane.api.app import create_app
from control_plane.api.parts import AppParts
from control_plane.cli.app import app
from control_plane.cli.exits import ExitCode
from control_plane.cli.options import Target
from control_plane.devserver.config import Flags
from control_plane.devserver.flags import Options
from control_plane.domain import errors
from control_plane.domain.events import EventKind
from control_plane.metrics import Metrics
from control_plane.reconcile.loop import Reconciler
from control_plane.serving.client import GrpcModelServer
from control_plane.settings import PREFIX, Settings
from control_plane.store.database import Database

DOCS = Path(__file__).parents[2] / "docs"
NOTE = "<!-- Written by `python -m tests.docs.reference`; change the code, not this page. -->"
EXITS = {
    ExitCode.DONE: "done, or nothing to do",
    ExitCode.FAILED: "another failure, such as no control plane at the address",
    ExitCode.USAGE: "wrong usage, or the request is invalid (422)",
    ExitCode.NOT_FOUND: "a name is not known (404)",
    ExitCode.DENIED: "not logged in, or not allowed (401, 403)",
    ExitCode.CONFLICT: "a conflict (409, 412, 423)",
    ExitCode.BLOCKED: "blocked by a gate",
    ExitCode.TIMED_OUT: "timed out waiting; the rollout goes on",
    ExitCode.ROLLOUT_FAILED: "the rollout failed, was rolled back or aborted",
    ExitCode.LAGGARDS: "succeeded, but some servers are still to be caught up",
    ExitCode.WOULD_CHANGE: "`--dry-run --exit-code`: there would be changes",
    ExitCode.PROBLEM: "`doctor` or `audit verify` found a problem",
    ExitCode.INTERRUPTED: "interrupted; a rollout goes on",
}
EVENTS = {
    EventKind.MODEL_CREATED: "a model was registered",
    EventKind.MODEL_CHANGED: "words about a model were changed",
    EventKind.MODEL_DELETED: "a model was deleted",
    EventKind.VERSION_REGISTERED: "a version was registered, by hand or by a scan",
    EventKind.VERSION_CHANGED: "words about a version were changed",
    EventKind.VERSION_DIGESTED: "the files of a version were hashed",
    EventKind.VERSION_DELETED: "a version was forgotten",
    EventKind.REQUEST_SET_CREATED: "recorded requests to a model were uploaded",
    EventKind.REQUEST_SET_DELETED: "a request set was deleted",
    EventKind.FLEET_CREATED: "a fleet was created",
    EventKind.FLEET_CHANGED: "a fleet's settings were changed",
    EventKind.FLEET_DELETED: "a fleet was deleted",
    EventKind.SERVER_ADDED: "a server was registered",
    EventKind.SERVER_CHANGED: "what is known of a server was changed",
    EventKind.SERVER_REMOVED: "a server was forgotten",
    EventKind.SERVER_TAKEN_OVER: "configs may be pushed to a server from now on",
    EventKind.SERVER_STATUS_CHANGED: "a server became ready, busy, unreachable, wedged, drifted …",
    EventKind.SERVER_RELOADED: "a server answered a config that was pushed to it",
    EventKind.SERVER_DRIFTED: "a server does not run what we verified; `data.cause`: a guess why",
    EventKind.SERVER_ENFORCED: "somebody had our config put back on a server",
    EventKind.SERVER_PAUSED: "our config is not put back on a server until somebody says so",
    EventKind.SERVER_JOINED: "a server that a source found has its whole config, and counts",
    EventKind.SERVER_MISSING: "a source lists a server no more; its grace period has begun",
    EventKind.SERVER_REFUSED: "a source lists a server that cannot be one of its fleet",
    EventKind.SERVER_DRAINED: "callers are kept away from a server",
    EventKind.SERVER_UNDRAINED: "callers may go to a server again",
    EventKind.SERVER_BOOT_CONFIG_FAILED: "the config that a server would boot from was not written",
    EventKind.SOURCE_CREATED: "a fleet got a source of servers",
    EventKind.SOURCE_CHANGED: "a source was changed",
    EventKind.SOURCE_DELETED: "a source was deleted",
    EventKind.SOURCE_FAILED: "a source cannot be looked up, or lists nothing any more",
    EventKind.SOURCE_ANSWERED: "a source that failed can be looked up again",
    EventKind.VERSION_SUSPECTED: "a version may have brought its server down: it goes last, alone",
    EventKind.VERSION_STATE_CHANGED: "a version changed its state on a server",
    EventKind.LABEL_VERIFIED: "a label answered with its version on every server that counts",
    EventKind.LABEL_ANSWERED: "a label answers with another version on a server, or with none",
    EventKind.REVISION_CREATED: "what a fleet should serve was changed",
    EventKind.ROLLOUT_STARTED: "a rollout began",
    EventKind.ROLLOUT_STEP_STARTED: "a step of a rollout began",
    EventKind.ROLLOUT_STEP_ENDED: "a step of a rollout ended",
    EventKind.ROLLOUT_PAUSED: "a rollout was paused",
    EventKind.ROLLOUT_RESUMED: "a rollout went on",
    EventKind.ROLLOUT_APPROVED: "somebody approved a rollout that waits for it",
    EventKind.ROLLOUT_REJECTED: "somebody refused a rollout that waited for approval",
    EventKind.ROLLOUT_HURRIED: "somebody had a rollout wait for no bake, gate or approval",
    EventKind.ROLLOUT_GLASS_BROKEN: "somebody had a rollout go on in spite of freezes or approvals",
    EventKind.ROLLOUT_SUPERSEDED: "a rollout gave way to another",
    EventKind.ROLLOUT_ENDED: "a rollout ended; `data.phase` says how",
    EventKind.HOOK_CREATED: "a hook was created",
    EventKind.HOOK_DELETED: "a hook was deleted",
    EventKind.HOOK_ENDED: "a run of a hook ended",
    EventKind.HOLD_RESUMED: "what was rolled back from may be promoted by anybody again",
    EventKind.STRATEGY_CHANGED: "a strategy was edited; rollouts under way do not change",
    EventKind.STRATEGY_DELETED: "a strategy was deleted",
    EventKind.TOKEN_CREATED: "a token was created",
    EventKind.TOKEN_REVOKED: "a token was revoked",
    EventKind.SHUTDOWN_REQUESTED: "somebody ended a replica through `admin:shutdown`",
}


def pages() -> dict[str, str]:
    """Every reference page by file name."""
    made = {
        "cli.md": _cli(),
        "settings.md": _settings(),
        "events.md": _events(),
        "errors.md": _errors(),
        "metrics.md": _metrics(),
        "http-api.md": _http_api(),
    }
    return {name: "\n".join((NOTE, "", *lines, "")) for name, lines in made.items()}


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its whole name; hidden ones left out."""
    yield from _walk("tfsctl", get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        if not one.hidden:
            yield from _walk(f"{name} {word}", one)


def _cli() -> Iterator[str]:
    yield from ("# Commands of `tfsctl`", "")
    yield "Data goes to stdout, words go to stderr. Into a pipe, data is JSON unless `-o` says"
    yield "otherwise. `undo` is another word for `rollback`."
    yield from ("", "## Options of every command that talks to the control plane", "")
    root = get_command(app)
    yield from _options([one for one in root.params if one.name in Target.__slots__])
    yield from ("", "They may stand before the command too: `tfsctl --fleet eu-prod status`.", "")
    yield from ("## Exit codes", "", "| code | meaning |", "|---|---|")
    yield from (f"| {int(code)} | {meaning} |" for code, meaning in EXITS.items())
    for name, command in commands():
        yield from ("", f"## `{_usage(name, command)}`", "", command.help or "")
        if name == "tfsctl devserver":
            yield from _flags()
        own = [one for one in command.params if one.name not in Target.__slots__]
        options = list(_options([one for one in own if one.param_type_name == "option"]))
        yield from ["", *options] if len(options) > 2 else []


def _flags() -> Iterator[str]:
    yield from ("", "| flag | default |", "|---|---|")
    for one in (*fields(Flags), *fields(Options)):
        default = str(one.default).lower() if isinstance(one.default, bool) else one.default
        if one.name != "flags":
            yield f"| `--{one.name}` | {default} |"


def _usage(name: str, command: Any) -> str:
    taken = [one for one in command.params if one.param_type_name == "argument"]
    names = [(one.metavar or one.name.upper(), one.required) for one in taken]
    words = [word if required else f"[{word}]" for word, required in names]
    return " ".join((name, *words))


def _options(params: list[Any]) -> Iterator[str]:
    yield from ("| option | meaning |", "|---|---|")
    for one in params:
        names = ", ".join(f"`{text}`" for text in (*one.opts, *one.secondary_opts))
        default = "" if one.default in (None, False, "", ()) else f" (default: {one.default})"
        needed = " (required)" if one.required else ""
        yield f"| {names} | {one.help}{needed}{'' if one.default is True else default} |"


def _settings() -> Iterator[str]:
    yield from ("# Settings", "", "Environment variables of `tfsctl serve` and `tfsctl up`.")
    yield "Options of the command line override them."
    yield from ("", "| variable | default | meaning |", "|---|---|---|")
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        shown = f"`{default}`" if str(default) else ""
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |"
    yield from ("", "The command line itself reads three more:", "")
    yield from ("| variable | default | meaning |", "|---|---|---|")
    yield "| `TFSCTL_SERVER` | `http://127.0.0.1:8080` | URL of the control plane |"
    yield "| `TFSCTL_TOKEN` |  | bearer token |"
    yield "| `TFSCTL_FLEET` | `default` | fleet |"


def _events() -> Iterator[str]:
    yield from ("# Events", "")
    yield "The journal: `tfsctl events`, `GET /api/v1/events`, `GET /api/v1/events:stream`. Each"
    yield "event has a number `seq` without gaps, `at`, `kind`, `actor`, and, where they apply,"
    yield "`fleet`, `model`, `server`, `rollout`, `revision`, `reason`, `data`. Who changed what"
    yield "is in the [audit chain](audit.md)."
    yield from ("", "| kind | when |", "|---|---|")
    yield from (f"| `{kind}` | {EVENTS[kind]} |" for kind in EventKind)


def _errors() -> Iterator[str]:
    yield from ("# Errors", "")
    yield "Every error is an `application/problem+json` document (RFC 9457) with `type`, `title`,"
    yield "`status`, `detail`, `code` and `request_id`, and, where they help, `hint`, `errors` and"
    yield "`blockers`. Branch on `code`; the words may change."
    yield from ("", "| code | status | meaning |", "|---|---|---|")
    kinds = [one for one in vars(errors).values() if isinstance(one, type)]
    ours = [one for one in kinds if issubclass(one, errors.ControlPlaneError)]
    rows = {(problems.status_of(one), one.code, (one.__doc__ or "").strip()) for one in ours}
    yield from (f"| `{code}` | {status} | {meaning} |" for status, code, meaning in sorted(rows))
    yield from ("", "What HTTP itself knows has its phrase as the code: `not-found` for an unknown")
    yield "path, `method-not-allowed`, `unsupported-media-type` and the like."


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", "`GET /metrics`, in the text format of Prometheus.")
    yield from ("", "| metric | type | labels | meaning |", "|---|---|---|---|")
    registry = CollectorRegistry()
    counted = (Metrics(registry), middleware.Metrics(registry))
    parts = [one for group in counted for one in vars(group).values()]
    for one in parts:
        if hasattr(one, "describe"):
            (family,) = one.describe()
            suffix = "_total" if family.type == "counter" else ""
            labels = ", ".join(f"`{name}`" for name in one._labelnames)
            name = f"`{family.name}{suffix}`"
            yield f"| {name} | {family.type} | {labels} | {family.documentation} |"


def _http_api() -> Iterator[str]:
    yield from ("# HTTP API", "")
    yield "JSON in and out, under `/api/v1`; `GET /openapi.json` has every field. Writes take"
    yield "`Idempotency-Key`, `If-Match` and `?dry_run=true`; those that start a rollout answer"
    yield "`202` with the rollout, and `Prefer: wait=30` holds the answer until it is over. Lists"
    yield "take `page_size` and `page_token` and answer `{items, next_page_token}`. What can go"
    yield "wrong: [errors](errors.md)."
    yield from ("", "| call | does |", "|---|---|")
    for path, verbs in sorted(_paths().items()):
        for verb, operation in verbs.items():
            words = (operation.get("description") or operation["summary"]).splitlines()[0]
            yield f"| `{verb.upper()} {path}` | {words.replace('|', '&#124;')} |"


def _paths() -> dict[str, dict[str, Any]]:
    db = Database.open("sqlite:////nowhere/at-all.db")  # never asked
    parts = AppParts(
        db=db,
        auth_required=True,
        reconciler=Reconciler(db, GrpcModelServer, bootstrap.clock),
        connect=GrpcModelServer,
        clock=bootstrap.clock,
        new_id=bootstrap.new_id,
        new_secret=bootstrap.new_secret,
        registry=CollectorRegistry(),
    )
    found: dict[str, dict[str, Any]] = create_app(parts).openapi()["paths"]
    return found


if __name__ == "__main__":
    for _name, _text in pages().items():
        (DOCS / _name).write_text(_text)
