"""One request of a page: who asks, in which language, and the ways to answer."""

import functools
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from control_plane.domain.errors import ControlPlaneError, Denied, NotAuthenticated
from control_plane.services import sessions
from control_plane.services.access import LOCAL, Actor, Role, TokenKind
from control_plane.services.changes import Call
from control_plane.store import deeds
from control_plane.web import shelf
from control_plane.web.language import LANGUAGES, chosen, speech
from control_plane.web.site import Site

COOKIE: Final = "tfsctl_session"
LANGUAGE: Final = "tfsctl_language"
THEME: Final = "tfsctl_theme"
THEMES: Final = ("auto", "light", "dark")
_NOBODY: Final = Actor("", Role.VIEWER)
_YEAR_S: Final = 365 * 86_400
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding, Accept-Language, Cookie",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A path of the dashboard, its name for links, and what answers there."""

    path: str
    name: str
    answer: "Callable[[Visit], Awaitable[Response]]"
    method: str = "GET"
    open: bool = False  # to who is not logged in


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a page."""

    site: Site
    request: Request
    actor: Actor | None
    nav: tuple[str, ...] = ()  # names of places, in order
    link: Callable[..., str] = lambda *_: ""  # a place's path by its name; "" if there is none

    @property
    def language(self) -> str:
        """The language of the page."""
        headers = self.request.headers
        return chosen(self.request.cookies.get(LANGUAGE, ""), headers.get("accept-language", ""))

    @property
    def theme(self) -> str:
        """The colours that were chosen; `auto` follows the system."""
        asked = self.request.cookies.get(THEME, "")
        return asked if asked in THEMES else THEMES[0]

    @property
    def partly(self) -> bool:
        """Whether a part of a page is asked for, by a script."""
        return "hx-request" in self.request.headers

    def t(self, key: str, **values: Any) -> str:
        """Say something in the language of the page."""
        return speech(self.language).t(key, **values)

    def may(self, role: Role) -> str:
        """Return why the visitor may not do what needs this role; "" if that is allowed."""
        actor = self.actor or _NOBODY
        try:
            actor.require(role)
        except Denied:
            has, needs = self.t(f"role.{actor.role}"), self.t(f"role.{role}")
            return self.t("may.not", role=has, needs=needs)
        return ""

    def call(self, reason: str = "") -> Call:
        """Return who asks for a change, when and why.

        Raises:
            Denied: the visitor may only look.
        """
        actor = self.actor or _NOBODY
        actor.require(Role.OPERATOR)
        return Call(
            actor=actor.name,
            now=self.site.clock(),
            new_id=self.site.new_id(),
            reason=reason,
            automatic=actor.kind is TokenKind.SERVICE,
        )

    def changed(self, fleet: str) -> None:
        """Have everybody see at once what was changed of a fleet, and the loop look at it."""
        self.site.resolved.doubt()
        self.site.feed.poke()
        self.site.nudge(fleet)

    async def form(self) -> Mapping[str, str]:
        """Return the fields of a form that was sent; of a name given twice, the last."""
        text = (await self.request.body()).decode("utf-8", "replace")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=1_000))

    def page(self, template: str, status: int = 200, **facts: Any) -> Response:
        """Return a page, or a part of one, made from a template."""
        html = _templates(self.language).get_template(template).render(self._told() | facts)
        content, headers = html.encode(), dict(_HEADERS)
        if len(content) > shelf.SMALL and shelf.takes_gzip(self.request):
            content = gzip.compress(content, 5)
            headers["Content-Encoding"] = "gzip"
        return Response(content, status, headers, media_type="text/html; charset=utf-8")

    def go(self, path: str) -> Response:
        """Send the browser to another page of ours."""
        if self.partly:
            return Response(status_code=204, headers=_HEADERS | {"HX-Redirect": path})
        return RedirectResponse(path, 303, headers=_HEADERS)

    def to_login(self) -> Response:
        """Have the visitor log in and come back."""
        path = f"/login?next={quote(self._asked_from(), safe='')}"
        if self.partly:
            return Response(status_code=401, headers=_HEADERS | {"HX-Redirect": path})
        return RedirectResponse(path, 303, headers=_HEADERS)

    def problem(self, error: ControlPlaneError) -> Response:
        """Say what went wrong, and a way on."""
        if isinstance(error, NotAuthenticated):
            return self.to_login()
        template = "problem_part.html" if self.partly else "problem.html"
        return self.page(template, self.site.status_of(type(error)), error=error)

    def keep(self, response: Response, name: str, value: str) -> None:
        """Have the browser keep a choice for a year."""
        response.set_cookie(name, value, _YEAR_S, httponly=True, samesite="lax", secure=self.tls)

    @property
    def tls(self) -> bool:
        """Whether the request came encrypted."""
        return self.request.url.scheme == "https"

    def _told(self) -> dict[str, Any]:
        return {
            "visit": self,
            "link": self.link,
            "actor": self.actor,
            "here": self.request.url.path,
            "seq": self.site.feed.seq,
            "now": self.site.clock(),
        }

    def _asked_from(self) -> str:
        """Return the page that the visitor sees, for a part of one too."""
        shown = urlsplit(self.request.headers.get("hx-current-url", ""))
        url = shown if self.partly else urlsplit(str(self.request.url))
        path = url.path if self.request.method == "GET" or self.partly else "/"
        return f"{path}?{url.query}" if url.query else path or "/"


async def who(site: Site, request: Request) -> Actor | None:
    """Return who a browser acts for; None when that is nobody."""
    found = LOCAL
    if site.auth_required:
        session_id = request.cookies.get(COOKIE, "")
        actor = await sessions.actor(site.db, session_id, site.clock()) if session_id else None
        if actor is None:
            return None
        found = actor
    deeds.by(found.name, found.token)
    return found


def refuse_foreign(request: Request) -> None:
    """Let pass what a page of ours sends, by what browsers say and pages cannot forge.

    Raises:
        Denied: another site's page sent it, or nothing says that it was one of ours.
    """
    fetched_from = request.headers.get("sec-fetch-site", "")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    ours = fetched_from == "same-origin" if fetched_from else origin == request.url.netloc
    if not ours:
        raise Denied("only the dashboard's own pages may do this")


def local(path: str) -> str:
    """Return a path of ours that a form names; the overview for anything else."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if ours and path.isprintable() else "/"


@functools.cache
def _templates(language: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(shelf.WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "t": speech(language).t,
        "language": language,
        "languages": LANGUAGES,
        "themes": THEMES,
        "static": shelf.address,
    }
    made.filters["instant"] = _instant
    return made


def _instant(at: datetime | str) -> datetime:
    """Return a time, as the API writes it or not, in UTC."""
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
