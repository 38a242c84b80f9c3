"""Log in with a token of the API, and out again."""

from typing import Final

from starlette.responses import Response

from control_plane.domain.errors import NotAuthenticated
from control_plane.services import sessions
from control_plane.web.visit import COOKIE, Place, Visit, local, who


async def _ask(visit: Visit) -> Response:
    wanted = local(visit.request.query_params.get("next", "/"))
    if not visit.site.auth_required:
        return visit.go(wanted)
    return visit.page("login.html", next=wanted, refused=False)


async def _begin(visit: Visit) -> Response:
    site, form = visit.site, await visit.form()
    wanted = local(form.get("next", "/"))
    login = sessions.Login(form.get("token", "").strip(), site.new_secret(), site.clock())
    try:
        await sessions.begin(site.db, site.access, login)
    except NotAuthenticated:
        return visit.page("login.html", 401, next=wanted, refused=True)
    response = visit.go(wanted)
    response.set_cookie(
        COOKIE,
        login.new_id,
        sessions.LIFETIME_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=visit.tls,
    )
    return response


async def _end(visit: Visit) -> Response:
    await who(visit.site, visit.request)  # the audit is told whose session ends
    await sessions.end(visit.site.db, visit.request.cookies.get(COOKIE, ""))
    response = visit.go("/login")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=visit.tls)
    return response


PLACES: Final = (
    Place("/login", "login", _ask, open=True),
    Place("/login", "log_in", _begin, "POST", open=True),
    Place("/logout", "log_out", _end, "POST", open=True),
)
