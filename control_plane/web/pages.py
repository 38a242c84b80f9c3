"""All places of the dashboard, and what holds for each: who may come, errors, headers.

A screen is a module with `PLACES`; it is added to `SCREENS`, and its main place's name to `NAV`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import NoMatchFound, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.domain.errors import ControlPlaneError, NotFound
from control_plane.web import (
    compare,
    files,
    fleets,
    history,
    live,
    login,
    model,
    models,
    overview,
    plan,
    preferences,
    restoring,
    rollout,
    rollouts,
    search,
    servers,
    steering,
)
from control_plane.web.site import Site
from control_plane.web.visit import Place, Visit, refuse_foreign, who

SCREENS: Final = (
    files,
    live,
    login,
    preferences,
    overview,
    search,
    steering,
    models,
    model,
    plan,
    rollouts,
    rollout,
    fleets,
    servers,
    history,
    restoring,
    compare,
)
NAV: Final = ("overview", "models", "rollouts", "fleets", "history")
_READS: Final = frozenset({"GET", "HEAD"})


def dashboard(site: Site) -> ASGIApp:
    """Return everything behind the door."""
    router = Router(redirect_slashes=False)

    def link(name: str, /, **values: Any) -> str:
        try:
            given = {key: quote(str(value), safe="") for key, value in values.items()}
            return str(router.url_path_for(name, **given))
        except NoMatchFound:
            return ""

    for screen in SCREENS:
        for place in screen.PLACES:
            made = Route(place.path, _endpoint(site, place, link), methods=[place.method])
            made.name = place.name
            router.routes.append(made)
    lost = _endpoint(site, Place("", "none", _nothing_here), link)

    async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await lost(Request(scope, receive))
        await answer(scope, receive, send)

    router.default = not_found
    return router


def _endpoint(
    site: Site, place: Place, link: Callable[..., str]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        request.scope["handler"] = f"web.{place.name}"
        nav = tuple(name for name in NAV if link(name))
        visit = Visit(site, request, None, nav, link)
        try:
            if request.method not in _READS:
                refuse_foreign(request)
            if not place.open:
                visit = Visit(site, request, await who(site, request), nav, link)
                if visit.actor is None:
                    return visit.to_login()
            return await place.answer(visit)
        except ControlPlaneError as error:
            return visit.problem(error)

    return answer


async def _nothing_here(visit: Visit) -> Response:
    raise NotFound(visit.t("problem.no_page", path=visit.request.url.path))
