"""Tokens in the database."""

from dataclasses import replace

import pytest

from control_plane.domain.errors import AlreadyExists, NotFound
from control_plane.store import tokens
from control_plane.store.database import Database
from control_plane.store.tokens import Token
from tests.store.builders import NOON, at

CI = Token("t1", "ci", "operator", "ab" * 32, NOON, expires_at=at(3600))


async def test_a_token_comes_back_as_it_was_stored(db: Database) -> None:
    async with db.begin() as s:
        assert not await tokens.any_token(s)
        await tokens.add(s, CI)
    async with db.read() as s:
        assert await tokens.token(s, "t1") == CI
        assert await tokens.token(s, "ghost") is None
        assert await tokens.any_token(s)


async def test_a_name_has_one_token_in_use(db: Database) -> None:
    second = replace(CI, id="t2")
    async with db.begin() as s:
        await tokens.add(s, CI)
        with pytest.raises(AlreadyExists, match="ci"):
            await tokens.add(s, second)
        assert await tokens.revoke(s, "ci", at(5)) == replace(CI, revoked_at=at(5))
        await tokens.add(s, second)
        assert [one.revoked_at for one in await tokens.tokens(s)] == [at(5), None]


async def test_revoking_what_is_not_in_use_is_not_found(db: Database) -> None:
    async with db.begin() as s:
        with pytest.raises(NotFound, match="ghost"):
            await tokens.revoke(s, "ghost", at(5))


async def test_uses_are_written_for_many_tokens(db: Database) -> None:
    async with db.begin() as s:
        await tokens.add(s, CI)
        await tokens.add(s, replace(CI, id="t2", name="cd"))
        await tokens.touch(s, {"t1": at(1), "t2": at(2), "gone": at(3)})
        await tokens.touch(s, {})
        assert [one.last_used_at for one in await tokens.tokens(s)] == [at(1), at(2)]
