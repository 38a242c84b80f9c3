"""Sessions of the dashboard: a browser shows a token once and acts for it for twelve hours.

Of the session's id only the SHA-256 is kept. What a token may is looked up at every request, so a
session ends at once with the token that opened it.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from control_plane.services.access import Access, Actor, actor_of
from control_plane.store import deeds, web_sessions
from control_plane.store.database import Database
from control_plane.store.web_sessions import WebSession

LIFETIME_S: Final = 12 * 3600


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks for a session, and the random id that it shall have."""

    token: str
    new_id: str
    now: datetime


async def begin(db: Database, access: Access, login: Login) -> Actor:
    """Exchange a token for a session and return who it acts for.

    Raises:
        NotAuthenticated: not one of our tokens, revoked or expired.
    """
    actor, token_id = await access.identify(login.token)
    deeds.by(actor.name, token_id)
    expires_at = login.now + timedelta(seconds=LIFETIME_S)
    session = WebSession(_sha256(login.new_id), token_id, login.now, expires_at)
    async with db.begin() as s:
        await web_sessions.forget_expired(s, login.now)
        await web_sessions.add(s, session)
    return actor


async def actor(db: Database, session_id: str, now: datetime) -> Actor | None:
    """Return who a session acts for; None when it, or its token, is over."""
    async with db.glance() as s:
        found = await web_sessions.found(s, _sha256(session_id))
    if found is None:
        return None
    expires_at, token = found
    return actor_of(token, now) if now < expires_at else None


async def end(db: Database, session_id: str) -> None:
    """End a session; one that is over already is no error."""
    async with db.begin() as s:
        await web_sessions.end(s, _sha256(session_id))


def _sha256(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
