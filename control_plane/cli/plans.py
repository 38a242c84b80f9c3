"""A dry run's plan in words, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from control_plane.cli.output import text_of


def would_change(answer: Mapping[str, Any]) -> bool:
    """Whether a dry run says that something would be different afterwards."""
    return bool(answer.get("would_change") or "would" in answer)


def plan_text(answer: Mapping[str, Any]) -> str:
    """Tell what a dry run found."""
    plan = answer.get("plan")
    if isinstance(plan, Mapping):
        return "\n".join(_lines(plan))
    return f"would be: {text_of(answer['would'])}" if "would" in answer else "nothing to change"


def _lines(plan: Mapping[str, Any]) -> Iterator[str]:
    servers = ", ".join(plan["servers"]) or "no server yet"
    yield f"{plan['kind']} in fleet {plan['fleet']}, on {servers}; nothing is changed yet"
    for model, after in plan["after"].items():
        before = plan["before"].get(model)
        yield f"  {model}"
        yield f"    before: {_deployment(before)}"
        yield f"    after:  {_deployment(after)}"
        if callers := plan["unlabelled"].get(model):
            path = " -> ".join(text_of(callers[when]) for when in ("before", "during", "after"))
            yield f"    unlabelled callers get: {path}"
    yield f"steps: {', '.join(plan['steps'])}"
    for rollout in plan["supersedes"]:
        yield f"ends the live rollout {rollout}"
    for warning in plan["warnings"]:
        yield f"warning: {warning}"
    yield f"plan hash: {plan['plan_hash']}"


def _deployment(deployment: Mapping[str, Any] | None) -> str:
    if deployment is None:
        return "not deployed"
    versions, labels = text_of(deployment["versions"]), text_of(deployment["labels"])
    return f"versions {versions}; labels {labels}"
