"""Who may do what: bearer tokens, of which only the SHA-256 is kept, and three roles.

A checked token is believed for `BELIEF_S` seconds, so a revoked one works that long at most, on any
replica. `Access.peek` answers from memory, without awaiting: the hot path needs no database.
"""

import enum
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from control_plane.domain.catalog import check_name
from control_plane.domain.errors import Denied, FieldInvalid, NotAuthenticated, StillInUse
from control_plane.domain.events import Event, EventKind
from control_plane.services.commit import Commit
from control_plane.store import journal, tokens
from control_plane.store.database import Database, Session
from control_plane.store.tokens import Token

BELIEF_S: Final = 5.0
_CACHED: Final = 1_024
_PREFIX: Final = "cp_"
_TOKEN: Final = re.compile(r"cp_([a-z0-9]{1,32})_([A-Za-z0-9_-]{43})")


class Role(enum.StrEnum):
    """What a token allows; each includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class TokenKind(enum.StrEnum):
    """Who holds a token; a service may not promote what was rolled back from."""

    PERSON = "person"
    SERVICE = "service"


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts; the name goes into every event."""

    name: str
    role: Role
    kind: TokenKind = TokenKind.PERSON
    token: str = field(default="", compare=False)  # its id

    def require(self, role: Role) -> None:
        """Let pass whoever has at least this role.

        Raises:
            Denied: the role is lower.
        """
        if _RANK[self.role] < _RANK[role]:
            hint = f"{self.name} is {self.role}; this needs {role}"
            raise Denied(hint=hint, needs=str(role), has=str(self.role))


LOCAL: Final = Actor("local", Role.ADMIN)  # who acts where no tokens are asked for
KEY_HOLDER: Final = Actor("shutdown-key", Role.ADMIN)  # who has the key of `admin:shutdown` alone


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token at its creation, the only time that its secret exists outside the caller's hands."""

    token: Token
    secret: str


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a new token shall be; `secret` is 43 random characters of URL-safe base64."""

    name: str
    role: Role
    id: str
    secret: str
    expires_in_s: float | None = None
    kind: TokenKind = TokenKind.PERSON


class Access:
    """Tells whose token it is, mostly from memory."""

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._believed: dict[str, tuple[Actor, datetime]] = {}  # by SHA-256
        self._used: dict[str, datetime] = {}  # by id

    def peek(self, secret: str) -> Actor | None:
        """Return who it is if that was looked up a moment ago."""
        held = self._believed.get(_sha256(secret))
        return held[0] if held is not None and self._clock() < held[1] else None

    async def check(self, secret: str) -> Actor:
        """Return who it is.

        Raises:
            NotAuthenticated: not one of our tokens, revoked or expired.
        """
        if known := self.peek(secret):
            return known
        return (await self.identify(secret))[0]

    async def identify(self, secret: str) -> tuple[Actor, str]:
        """Return who it is and the token's id, as the database says now.

        Raises:
            NotAuthenticated: not one of our tokens, revoked or expired.
        """
        parsed = _TOKEN.fullmatch(secret)
        if parsed is None:
            raise NotAuthenticated
        async with self._db.glance() as s:
            token = await tokens.token(s, parsed[1])
        now = self._clock()
        digest = _sha256(secret)
        if token is None or not hmac.compare_digest(token.sha256, digest) or not _valid(token, now):
            raise NotAuthenticated
        return self._believe(token, digest, now), token.id

    def forget(self) -> None:
        """Look every token up again."""
        self._believed.clear()

    async def flush(self) -> None:
        """Write down when tokens were last used."""
        if self._used:
            used, self._used = self._used, {}
            async with self._db.begin() as s:
                await tokens.touch(s, used)

    def _believe(self, token: Token, digest: str, now: datetime) -> Actor:
        until = now + timedelta(seconds=BELIEF_S)
        if token.expires_at is not None:
            until = min(until, token.expires_at)
        if len(self._believed) >= _CACHED:
            self._believed.clear()
        actor = _actor(token)
        self._believed[digest] = (actor, until)
        self._used[token.id] = now
        return actor


async def create(
    db: Database, request: TokenRequest, *, actor: str, now: datetime, commit: Commit[NewToken]
) -> NewToken:
    """Create a token; its name must be free among those that are not revoked.

    Raises:
        AlreadyExists: a live token has this name.
        FieldInvalid: the name or the time to live is not valid.
    """
    check_name("name", request.name)
    made = NewToken(_token(request, now), f"{_PREFIX}{request.id}_{request.secret}")
    async with db.begin() as s:
        await tokens.add(s, made.token)
        data = {"name": request.name, "role": str(request.role), "kind": str(request.kind)}
        await journal.append(s, Event(EventKind.TOKEN_CREATED, now, actor, data=data))
        await commit(s, made)
    return made


async def revoke(
    db: Database, name: str, *, actor: str, now: datetime, commit: Commit[Token]
) -> Token:
    """Revoke a token by its name; it works for `BELIEF_S` more at most.

    Raises:
        NotFound: no token of this name is in use.
        StillInUse: nobody would be left who can make tokens.
    """
    async with db.begin() as s:
        revoked = await tokens.revoke(s, name, now)
        await _keep_an_admin(s, revoked, now)
        await journal.append(s, Event(EventKind.TOKEN_REVOKED, now, actor, data={"name": name}))
        await commit(s, revoked)
    return revoked


async def _keep_an_admin(s: Session, revoked: Token, now: datetime) -> None:
    left = [one for one in await tokens.tokens(s) if one.role == Role.ADMIN and _valid(one, now)]
    if revoked.role == Role.ADMIN and not left:
        text = f"{revoked.name} is the last token of an admin"
        raise StillInUse(text, hint="create another admin's token first")


async def listed(db: Database) -> tuple[Token, ...]:
    """Return every token, revoked ones too."""
    async with db.read() as s:
        return await tokens.tokens(s)


async def first_admin(db: Database, *, id_: str, secret: str, now: datetime) -> NewToken | None:
    """Create the token `admin` where no token exists at all; None where one does."""
    request = TokenRequest("admin", Role.ADMIN, id_, secret)
    made = NewToken(_token(request, now), f"{_PREFIX}{id_}_{secret}")
    async with db.begin() as s:
        if await tokens.any_token(s):
            return None
        await tokens.add(s, made.token)
        data = {"name": "admin", "role": "admin"}
        await journal.append(s, Event(EventKind.TOKEN_CREATED, now, "system", data=data))
    return made


def _token(request: TokenRequest, now: datetime) -> Token:
    whole = f"{_PREFIX}{request.id}_{request.secret}"
    if not _TOKEN.fullmatch(whole):
        raise FieldInvalid("secret", "a token's secret is 43 characters of URL-safe base64")
    lives = request.expires_in_s
    if lives is not None and not 0 < lives <= 10 * 366 * 86_400:
        raise FieldInvalid("expires_in_s", "between 0 seconds and ten years")
    return Token(
        id=request.id,
        name=request.name,
        role=str(request.role),
        sha256=_sha256(whole),
        created_at=now,
        revoked_at=None,
        expires_at=now + timedelta(seconds=lives) if lives is not None else None,
        last_used_at=None,
        kind=str(request.kind),
    )


def actor_of(token: Token, now: datetime) -> Actor | None:
    """Return who acts with a token; None when it is revoked or expired."""
    return _actor(token) if _valid(token, now) else None


def _actor(token: Token) -> Actor:
    return Actor(token.name, Role(token.role), TokenKind(token.kind), token.id)


def _valid(token: Token, now: datetime) -> bool:
    return token.revoked_at is None and (token.expires_at is None or now < token.expires_at)


def is_same(given: str, wanted: str) -> bool:
    """Compare secrets in a time that tells nothing of either."""
    return hmac.compare_digest(_sha256(given), _sha256(wanted))


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
