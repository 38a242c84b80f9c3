"""Calls of the API about sources of servers."""

from collections.abc import Mapping
from typing import Any

from control_plane.client.answers import Paged
from control_plane.client.call import Call, path_of

Source = Mapping[str, Any]


def sources(fleet: str) -> Call[Paged[Source]]:
    """List the sources of a fleet, and what each brought."""
    return Call("GET", path_of("fleets", fleet, "sources"))


def source(fleet: str, name: str) -> Call[Source]:
    """Show a source."""
    return Call("GET", path_of("fleets", fleet, "sources", name))


def add_source(fleet: str, document: Mapping[str, Any]) -> Call[Source]:
    """Create a source: name, kind, host, path, port, grace_s, take_over, flags, …, force."""
    return Call("POST", path_of("fleets", fleet, "sources"), body=document)


def change_source(fleet: str, name: str, changes: Mapping[str, Any]) -> Call[Source]:
    """Change a source; what is left out stays."""
    return Call("PATCH", path_of("fleets", fleet, "sources", name), body=changes)


def delete_source(fleet: str, name: str, *, with_servers: bool = False) -> Call[None]:
    """Delete a source, and the servers that it found if asked to."""
    query = {"with_servers": "true"} if with_servers else {}
    return Call("DELETE", path_of("fleets", fleet, "sources", name), query=query)
