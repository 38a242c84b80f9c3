"""An address for every place that can be looked at, from the site's own list of places."""

from urllib.parse import quote

from control_plane.web.pages import SCREENS

SCRIPTS_ONLY = ("/ui/", "/static/")
_MODEL = "half_plus_two"


def pages(*, fleet: str, server: str, rollout: str, q: str = "half") -> dict[str, str]:
    """Every page by its name, filled in; where one place has several faces, each has a name."""
    named = {
        "fleet": fleet,
        "server": server,
        "model": _MODEL,
        "id": rollout,
        "verb": "remove",
        "label": "stable",
    }
    found = {
        place.name: _filled(place.path, named)
        for screen in SCREENS
        for place in screen.PLACES
        if place.method == "GET" and not place.path.startswith(SCRIPTS_ONLY)
    }
    whole = quote(fleet)
    found["search"] += f"?q={quote(q)}"
    found["label_history"] += f"?label=stable&model={_MODEL}&fleet={whole}"
    found["state_at"] += f"?fleet={whole}"
    found["restore_plan"] += f"?fleet={whole}&revision=1&force=yes"
    found["compare"] += f"?model={_MODEL}"
    found["server_examined"] = found["server"] + "?doctor=yes"
    found["compare_times"] = f"/compare?fleet={whole}&since=2020-01-01T00:00"
    return found


def _filled(path: str, named: dict[str, str]) -> str:
    for name, value in named.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    assert "{" not in path, f"{path}: give a value here"
    return path
