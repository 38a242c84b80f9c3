"""The dashboard's way in; what lies behind is loaded when somebody first asks for a page.

A control plane that nobody browses pays neither for templates nor for texts.
"""

from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from control_plane.web.site import Site

PLACES: Final = frozenset(
    {
        "",
        "compare",
        "fleets",
        "history",
        "login",
        "logout",
        "models",
        "rollouts",
        "search",
        "static",
        "ui",
    }
)


class Door(BaseRoute):
    """Takes what lies below one of the dashboard's places."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._dashboard: ASGIApp | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether the path is a page's."""
        if scope["type"] != "http":
            return Match.NONE, {}
        first = scope["path"].lstrip("/").partition("/")[0]
        return (Match.FULL if first in PLACES else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Pages have names of their own behind the door."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the page."""
        if self._dashboard is None:
            from control_plane.web.pages import dashboard

            self._dashboard = dashboard(self._site)
        await self._dashboard(scope, receive, send)
