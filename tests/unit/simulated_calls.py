"""The pushes of a simulated control plane: on their way, and as the server's machine takes them."""

from dataclasses import dataclass

from control_plane.devserver.config import Entry, Specific
from control_plane.devserver.machine import Call
from control_plane.domain.observed import Intent
from control_plane.domain.state import Config, Marker

OWNER = "_cp_owner_test_default"


@dataclass
class Pending:
    """A push whose answer the control plane waits for, or never gets."""

    intent: Intent
    call: Call | None  # None: it never reached the server
    gives_up_at: float
    cut: bool = False  # the answer is lost on its way


def entries_of(config: Config, marker: Marker | None) -> list[Entry]:
    """A config with our marker labels."""
    entries = []
    for name, one in config.models.items():
        labels = dict(one.labels)
        if marker and marker.model == name:
            labels |= {config.digest_label: marker.version, OWNER: marker.version}
        policy = Specific(tuple(sorted(one.versions)))
        entries.append(Entry(name, one.base_path, policy=policy, labels=labels))
    return entries
