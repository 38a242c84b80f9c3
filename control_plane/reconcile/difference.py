"""What a push changes of the config that a server runs, for people who read it later."""

from difflib import unified_diff
from typing import Any, Final

from control_plane.domain.action import Reload
from control_plane.domain.observed import Verified
from control_plane.serving.config import config_text

MOST_CHARACTERS: Final = 64 << 10


def difference(before: Verified | None, push: Reload, owner: str) -> dict[str, Any]:
    """Return the models that a push changes, the versions that it adds, and the diff of the whole.

    The diff is of the text proto.
    """
    held = before.config.models if before else {}
    sent = push.config.models
    models = [name for name in sorted({*held, *sent}) if held.get(name) != sent.get(name)]
    old = config_text(before.config, before.marker, owner) if before else ""
    new = config_text(push.config, push.marker, owner)
    lines = unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="")
    added = {
        name: sorted(sent[name].versions - (held[name].versions if name in held else frozenset()))
        for name in models
        if name in sent
    }
    return {
        "models": models,
        "added": {name: versions for name, versions in added.items() if versions},
        "diff": "\n".join(lines)[:MOST_CHARACTERS],
    }
