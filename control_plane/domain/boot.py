"""The config that a server can boot from: what it was seen to serve, and nothing that may fail.

A server with one model in its file that does not load never opens its port, and labels in a file
end one without the labels flag. So the file holds what is AVAILABLE of the verified config, and the
rest comes by reload once the port is open.
"""

from collections.abc import Callable

from control_plane.domain.fleet import Fleet, Server
from control_plane.domain.observed import Observed
from control_plane.domain.state import Config, ModelConfig

BOOT_FILE = "models.config"


def boot_path(fleet: Fleet, server: str) -> str:
    """Where a server's file is, as the server sees it; "" if the fleet keeps none."""
    folder = fleet.boot_config_dir
    return f"{folder}/{server}/{BOOT_FILE}" if folder else ""


def not_kept(server: Server) -> str:
    """Say why no file is kept for a server of a fleet that keeps them; "" if one is."""
    if (server.flags.model_config_file_poll_wait_seconds or 0) > 0:
        return "the server re-reads its file, which would take away what reloads brought"
    return ""


def boot_config(
    observed: Observed, *, labels: bool, loads: Callable[[str, int], bool]
) -> Config | None:
    """Return what a server could boot from now; None if too little is known of it.

    Args:
        observed: what is known of it.
        labels: whether it was started with the flag that lets a file hold labels.
        loads: whether nothing is known to be wrong with the files of a model's version.
    """
    if observed.verified is None:
        return None
    models = {}
    for name, held in observed.verified.config.models.items():
        versions = frozenset(
            version
            for version in held.versions
            if observed.available(name, version) and loads(name, version)
        )
        if versions:
            kept = {one: version for one, version in held.labels.items() if version in versions}
            models[name] = ModelConfig(held.base_path, versions, kept if labels else {})
    if not models and observed.verified.config.models:
        return None  # nothing has loaded yet: what was there before says more
    return Config(models)
