"""Bearer tokens in the database: hashes, never the tokens themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, update

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.store import deeds, rows
from control_plane.store.database import Session
from control_plane.store.token_tables import TokenRow


@dataclass(frozen=True, slots=True)
class Token:
    """Who may call; `name` is the actor of what is done with it."""

    id: str
    name: str
    role: str
    sha256: str
    created_at: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    kind: str = "person"  # or "service"


async def add(s: Session, token: Token) -> None:
    """Store a new token.

    Raises:
        AlreadyExists: the name has a token that is not revoked.
    """
    if not await rows.insert_new(s, TokenRow, **rows.values_of(token)):
        raise AlreadyExists(f"A token named {token.name} exists already.", name=token.name)


async def token(s: Session, id: str) -> Token | None:  # noqa: A002 - it is the token's own word
    """Return a token, revoked and expired ones included."""
    found = await rows.maybe_one(s, TokenRow, id=id)
    return None if found is None else Token(**found)


async def tokens(s: Session) -> tuple[Token, ...]:
    """Return every token, the oldest first."""
    order = (TokenRow.created_at, TokenRow.id)
    found = await rows.all_of(s, rows.columns_of(TokenRow).order_by(*order))
    return tuple(Token(**one) for one in found)


async def revoke(s: Session, name: str, at: datetime) -> Token:
    """Revoke the token of a name.

    Raises:
        NotFound: no token of this name is in use.
    """
    table = rows.table_of(TokenRow)
    changed = update(table).where(table.c.name == name, table.c.revoked_at.is_(None))
    answer = await s.execute(changed.values(revoked_at=at).returning(*table.c))
    found = answer.mappings().first()
    if found is None:
        raise NotFound(f"There is no token named {name} in use.", name=name)
    deeds.saw(s, "tokens", {"id": found["id"]}, {**found, "revoked_at": None})
    deeds.changed(s, "tokens", {"id": found["id"]}, {"revoked_at": at})
    return Token(**found)


async def touch(s: Session, used: Mapping[str, datetime]) -> None:
    """Write when tokens, by id, were last used."""
    if not used:
        return
    table = rows.table_of(TokenRow)
    changed = update(table).where(table.c.id == bindparam("token"))
    each = [{"token": id_, "at": at} for id_, at in used.items()]
    await s.execute(changed.values(last_used_at=bindparam("at")), each)


async def any_token(s: Session) -> bool:
    """Return whether a token was ever made."""
    return await rows.some(s, TokenRow.id.is_not(None))
