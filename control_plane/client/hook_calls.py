"""Calls of the API about hooks."""

from collections.abc import Mapping
from typing import Any

from control_plane.client.answers import Paged
from control_plane.client.call import Call, given, path_of

Hook = Mapping[str, Any]


def hooks(fleet: str = "") -> Call[Paged[Hook]]:
    """List hooks, of every fleet or of one."""
    return Call("GET", path_of("hooks"), query=given(fleet=fleet))


def hook(name: str) -> Call[Hook]:
    """Show a hook."""
    return Call("GET", path_of("hooks", name))


def hook_runs(name: str) -> Call[Paged[Mapping[str, Any]]]:
    """List the newest runs of a hook."""
    return Call("GET", path_of("hooks", name, "runs"))


def add_hook(document: Mapping[str, Any]) -> Call[Hook]:
    """Create a hook."""
    return Call("POST", path_of("hooks"), body=document)


def delete_hook(name: str) -> Call[Hook]:
    """Delete a hook."""
    return Call("DELETE", path_of("hooks", name))
