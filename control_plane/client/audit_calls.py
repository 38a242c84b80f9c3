"""Calls about the audit chain."""

from collections.abc import Mapping
from typing import Any

from control_plane.client.answers import Paged
from control_plane.client.call import Call, given, path_of


def audit(**wanted: str) -> Call[Paged[Mapping[str, Any]]]:
    """List audit records, the newest first, by actor, token, address, request, since, until."""
    return Call("GET", path_of("audit"), query={"page_size": 500, **given(**wanted)})


def verify_audit() -> Call[Mapping[str, Any]]:
    """Check the whole audit chain."""
    return Call("GET", path_of("audit:verify"))
