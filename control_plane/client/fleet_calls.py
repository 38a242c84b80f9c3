"""Calls of the API about fleets and servers as they are."""

from collections.abc import Mapping
from typing import Any

from control_plane.client.answers import Fleet, Readiness, Server
from control_plane.client.call import Call, given, path_of


def overview() -> Call[Mapping[str, Any]]:
    """Say how everything stands, what needs somebody, and what changed in the last 24 hours."""
    return Call("GET", path_of("overview"))


def search(q: str) -> Call[Mapping[str, Any]]:
    """Find models, fleets, servers and rollouts by a part of their name."""
    return Call("GET", path_of("search"), query={"q": q})


def served(q: str = "", state: str = "") -> Call[Mapping[str, Any]]:
    """Say of every model where it is served and how it stands there."""
    return Call("GET", path_of("served"), query=given(q=q, state=state))


def served_model(fleet: str, model: str) -> Call[Mapping[str, Any]]:
    """Say all of one model in one fleet: labels, servers, versions, availability, changes."""
    return Call("GET", path_of("fleets", fleet, "models", model))


def doctor(fleet: str, server: str = "") -> Call[Mapping[str, Any]]:
    """Say how the servers of a fleet, or one of them, were started, and what to change."""
    parts = ("fleets", fleet, "servers", server) if server else ("fleets", fleet)
    return Call("GET", path_of(*parts, "doctor"))


def deployment_ready(fleet: str, model: str, label: str = "") -> Call[Readiness]:
    """Say whether some server answers to a label, or to all; fails with `not-ready` if not."""
    path = path_of("fleets", fleet, "deployments", model, "ready")
    return Call("GET", path, query=given(label=label), retried=False)


def server_ready(fleet: str, name: str, model: str = "", label: str = "") -> Call[Readiness]:
    """Say whether a server answers to all that it should serve; fails with `not-ready` if not."""
    path = path_of("fleets", fleet, "servers", name, "ready")
    return Call("GET", path, query=given(model=model, label=label), retried=False)


def change_server(fleet: str, name: str, changes: Mapping[str, Any]) -> Call[Server]:
    """Change a server; what is null is forgotten, what is left out stays."""
    return Call("PATCH", path_of("fleets", fleet, "servers", name), body=changes)


def change_fleet(name: str, **changes: Any) -> Call[Fleet]:
    """Change a fleet's settings, `boot_config_dir` among them; what is left out stays."""
    return Call("PATCH", path_of("fleets", name), body=changes)


def drain_server(fleet: str, name: str, reason: str = "") -> Call[Server]:
    """Keep callers away from a server."""
    path = path_of("fleets", fleet, "servers", f"{name}:drain")
    return Call("POST", path, body=given(reason=reason))


def import_config(fleet: str, config: str, **how: Any) -> Call[Mapping[str, Any]]:
    """Import a `models.config`; `how` is labels, server, force, reason."""
    return Call(
        "POST", path_of("fleets", f"{fleet}:import"), body={"config": config, **given(**how)}
    )


def enforce(fleet: str, name: str, reason: str = "") -> Call[Server]:
    """Have our config put back on a server that drifted."""
    path = path_of("fleets", fleet, "servers", f"{name}:enforce")
    return Call("POST", path, body=given(reason=reason))


def undrain_server(fleet: str, name: str, reason: str = "") -> Call[Server]:
    """Let callers go to a server again."""
    path = path_of("fleets", fleet, "servers", f"{name}:undrain")
    return Call("POST", path, body=given(reason=reason))
