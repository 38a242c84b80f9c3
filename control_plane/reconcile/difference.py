"""What a push changes of the config that a server runs, for people who read it later."""

from difflib import unified_diff
from functools import lru_cache
from typing import Any, Final

from control_plane.domain.action import Reload
from control_plane.domain.observed import Verified
from control_plane.domain.state import Config, Marker
from control_plane.serving.config import config_text

MOST_CHARACTERS: Final = 64 << 10
_KEPT: Final = 64  # a fleet's servers change in the same way at about the same time


def difference(before: Verified | None, push: Reload, owner: str) -> dict[str, Any]:
    """Return the models that a push changes, the versions that it adds, and the diff of the whole.

    The diff is of the text proto.
    """
    held = before.config.models if before else {}
    sent = push.config.models
    models = [name for name in sorted({*held, *sent}) if held.get(name) != sent.get(name)]
    old = (before.config, before.marker) if before else (None, None)
    added = {
        name: sorted(sent[name].versions - (held[name].versions if name in held else frozenset()))
        for name in models
        if name in sent
    }
    return {
        "models": models,
        "added": {name: versions for name, versions in added.items() if versions},
        "diff": _diff(*old, push.config, push.marker, owner),
    }


@lru_cache(maxsize=_KEPT)
def _diff(
    before: Config | None, old: Marker | None, after: Config, new: Marker | None, owner: str
) -> str:
    held = config_text(before, old, owner) if before else ""
    sent = config_text(after, new, owner)
    lines = unified_diff(held.splitlines(), sent.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)[:MOST_CHARACTERS]
