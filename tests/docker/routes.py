"""Which addresses the control plane answers; another test compares the page with the code."""

from control_plane.web import live
from tests.docker.dockerfile import ROOT


def answers_get(path: str) -> bool:
    """Whether a GET of a path without names in it is answered."""
    pages = {place.path for place in live.PLACES if place.method == "GET"}
    return path in pages or f"| `GET {path}` |" in (ROOT / "docs" / "http-api.md").read_text()
