"""The dashboard's sessions in the database: hashes of their ids, never the ids themselves."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from control_plane.store import rows
from control_plane.store.database import Session
from control_plane.store.session_tables import WebSessionRow
from control_plane.store.token_tables import TokenRow
from control_plane.store.tokens import Token


@dataclass(frozen=True, slots=True)
class WebSession:
    """A browser that acts for a token."""

    sha256: str
    token: str  # its id
    created_at: datetime
    expires_at: datetime


async def add(s: Session, session: WebSession) -> None:
    """Store a new session."""
    await rows.upsert(s, WebSessionRow, **rows.values_of(session))


async def found(s: Session, sha256: str) -> tuple[datetime, Token] | None:
    """Return when a session expires and its token, be they past that or not; None if it ended."""
    sessions, tokens = rows.table_of(WebSessionRow), rows.table_of(TokenRow)
    wanted = (
        select(sessions.c.expires_at.label("session_expires_at"), *tokens.c)
        .join(tokens, tokens.c.id == sessions.c.token)
        .where(sessions.c.sha256 == sha256)
    )
    row = (await s.execute(wanted)).mappings().first()
    if row is None:
        return None
    values = dict(row)
    return values.pop("session_expires_at"), Token(**values)


async def end(s: Session, sha256: str) -> None:
    """Forget a session; one that is not there is no error."""
    await s.execute(delete(WebSessionRow).where(WebSessionRow.sha256 == sha256))


async def forget_expired(s: Session, now: datetime) -> None:
    """Forget sessions whose time is over."""
    await s.execute(delete(WebSessionRow).where(WebSessionRow.expires_at < now))
