"""The dashboard in this process, over a real database; the browser's part is for tests/browser."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.bootstrap import site_of
from control_plane.services.access import Role
from control_plane.web.door import Door
from tests.api.conftest import Api, serving, token
from tests.databases import sqlite_url

SITE = "http://test"
OURS = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Web:
    """A browser without a screen: it keeps cookies and follows nothing by itself."""

    api: Api
    http: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers)

    async def text(self, path: str, **headers: str) -> str:
        """What a page says, without its markup."""
        answer = await self.get(path, **headers)
        assert answer.status_code == 200, answer.text
        return said(answer.text)

    async def send(
        self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a form, as a page of ours does unless other headers say otherwise."""
        return await self.http.post(path, data=fields, headers=OURS if headers is None else headers)

    async def log_in(self, name: str, role: Role) -> str:
        """Make a token, log in with it and return it."""
        secret = await token(self.api.db, name, role)
        answer = await self.send("/login", {"token": secret})
        assert answer.status_code == 303, answer.text
        return secret


def said(html: str) -> str:
    """The words of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def with_pages(api: Api) -> Web:
    api.app.router.routes.append(Door(site_of(api.app.state.running)))
    transport = httpx.ASGITransport(app=api.app)
    return Web(api, httpx.AsyncClient(transport=transport, base_url=SITE))


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    """The dashboard without tokens."""
    async with serving(sqlite_url(tmp_path)) as api:
        made = with_pages(api)
        async with made.http:
            yield made


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Web]:
    """The dashboard as it is in production: who comes must log in."""
    async with serving(sqlite_url(tmp_path), auth_required=True) as api:
        made = with_pages(api)
        async with made.http:
            yield made


def members(answer: Any) -> set[str]:
    """The attributes of the cookie that an answer sets."""
    return {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
