"""A dry run's plan in words; on a terminal its config diffs have colours."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from control_plane.cli.output import text_of

Json = Mapping[str, Any]
_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}
_UNITS: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def would_change(answer: Json) -> bool:
    """Whether a dry run says that something would be different afterwards."""
    return bool(answer.get("would_change") or "would" in answer)


def plan_text(answer: Json) -> str:
    """Tell what a dry run found."""
    plan = answer.get("plan")
    if not isinstance(plan, Mapping):
        return f"would be: {text_of(answer['would'])}" if "would" in answer else "nothing to change"
    console = Console(highlight=False, soft_wrap=True)
    with console.capture() as printed:
        for line in _lines(plan):
            console.print(line, markup=False)
    return printed.get().rstrip("\n")


def _lines(plan: Json) -> Iterator[str | Text]:
    servers = ", ".join(plan["servers"]) or "no server yet"
    yield f"{plan['kind']} in fleet {plan['fleet']}, on {servers}; nothing is changed yet"
    yield from _models(plan)
    yield f"steps: {', '.join(plan['steps'])}"
    for rollout in plan["supersedes"]:
        yield f"ends the live rollout {rollout}"
    yield from _reloads(plan)
    yield from _costs(plan)
    for warning in plan["warnings"]:
        yield Text(f"warning: {warning}", style="yellow")
    yield f"plan hash: {plan['plan_hash']}"


def _models(plan: Json) -> Iterator[str]:
    for model, after in plan["after"].items():
        before = plan["before"].get(model)
        yield f"  {model}"
        yield f"    before: {_deployment(before)}"
        yield f"    after:  {_deployment(after)}"
        if callers := plan["unlabelled"].get(model):
            path = " -> ".join(text_of(callers[when]) for when in ("before", "during", "after"))
            yield f"    unlabelled callers get: {path}"
    for one in plan["signatures"]:
        move = f"{one['model']} {one['label']} {one['before']} -> {one['after']}"
        yield f"signatures: {move}: {one['verdict']}"


def _deployment(deployment: Json | None) -> str:
    if deployment is None:
        return "not deployed"
    versions, labels = text_of(deployment["versions"]), text_of(deployment["labels"])
    return f"versions {versions}; labels {labels}"


def _reloads(plan: Json) -> Iterator[str | Text]:
    """Every reload in order; servers of which the same is told are told of together."""
    told: dict[str, list[str]] = {}
    parts = {}
    for end in plan["ends"]:
        server = end["server"]
        reloads = [one for one in plan["reloads"] if one["server"] == server]
        same = json.dumps([[{**one, "server": ""} for one in reloads], {**end, "server": ""}])
        told.setdefault(same, []).append(server)
        parts[same] = (reloads, end)
    for same, servers in told.items():
        reloads, end = parts[same]
        count = {0: "no reload", 1: "1 reload"}.get(len(reloads), f"{len(reloads)} reloads")
        yield Text(f"{', '.join(servers)}: {count}", style="bold")
        for number, one in enumerate(reloads, 1):
            yield from _reload(number, one)
        if end["waits_for"]:
            yield f"  then: {'; '.join(end['waits_for'])}"


def _reload(number: int, one: Json) -> Iterator[str | Text]:
    speed = "instant" if one["warm"] else "loads"
    yield Text(f"  {number}. {one['step']}: {one['why']} ({speed})", style="bold")
    if one["waits_for"]:
        yield f"     after: {'; '.join(one['waits_for'])}"
    if one["names_added"]:
        names = text_of(one["names_added"])
        yield f"     adds {names}; other reloads wait at least {one['lock_s']} s"
    for model, before in one["unlabelled_before"].items():
        after = one["unlabelled_after"][model]
        if before != after:
            path = f"{text_of(before)} -> {text_of(after)}"
            yield f"     unlabelled callers of {model} get: {path}"
    for line in one["diff"].splitlines()[2:]:
        yield Text(f"       {line}", style=_STYLES.get(line[:1], ""))


def _costs(plan: Json) -> Iterator[str]:
    needs: dict[str, list[str]] = {}
    for server, one in plan["memory"].items():
        room = f" of {_bytes(one['memory_bytes'])}" if one["memory_bytes"] is not None else ""
        needs.setdefault(f"about {_bytes(one['peak_bytes'])}{room}", []).append(server)
    for text, servers in needs.items():
        yield f"memory at the peak: {text} on {', '.join(servers)}"
    yield f"takes about {plan['eta_s']} s"
    if plan["rollback"]:
        yield f"rollback: {plan['rollback']}"


def _bytes(count: int) -> str:
    return next(
        (f"{count / size:.1f} {unit}" for unit, size in _UNITS if count >= size), f"{count} B"
    )
