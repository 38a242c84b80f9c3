"""The dashboard's sessions in the database."""

from control_plane.store import tokens, web_sessions
from control_plane.store.database import Database
from control_plane.store.web_sessions import WebSession
from tests.store.builders import NOON, at
from tests.store.test_tokens import CI

OPEN = WebSession("aa" * 32, CI.id, NOON, at(60))


async def test_a_session_comes_with_its_token_until_it_ends(db: Database) -> None:
    async with db.begin() as s:
        await tokens.add(s, CI)
        await web_sessions.add(s, OPEN)
        assert await web_sessions.found(s, OPEN.sha256) == (at(60), CI)
        assert await web_sessions.found(s, "bb" * 32) is None
        await web_sessions.end(s, "bb" * 32)
        await web_sessions.end(s, OPEN.sha256)
        assert await web_sessions.found(s, OPEN.sha256) is None


async def test_only_sessions_whose_time_is_over_are_forgotten(db: Database) -> None:
    later = WebSession("bb" * 32, CI.id, NOON, at(61))
    async with db.begin() as s:
        await tokens.add(s, CI)
        await web_sessions.add(s, OPEN)
        await web_sessions.add(s, later)
        await web_sessions.forget_expired(s, at(61))
        assert await web_sessions.found(s, OPEN.sha256) is None
        assert await web_sessions.found(s, later.sha256) == (at(61), CI)
