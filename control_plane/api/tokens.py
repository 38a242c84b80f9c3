"""Tokens: who may use this API. A secret is shown once, when it is made."""

from typing import Any

from fastapi import APIRouter, Response

from control_plane.api.deps import AdminDep, AdminWriteDep, Answer, DbDep, list_response
from control_plane.api.schemas import TokenCreate, TokenPath
from control_plane.services import access
from control_plane.services.commit import Commit
from control_plane.store.tokens import Token

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.post("", status_code=201)
async def create_token(body: TokenCreate, write: AdminWriteDep) -> Response:
    """Create a token and show its secret, this once; it is never kept, not for a replay either."""
    parts = write.running.parts
    request = access.TokenRequest(
        body.name, body.role, parts.new_id(), parts.new_secret(), body.expires_in_s, body.kind
    )
    secrets: list[str] = []

    async def use_case(commit: Commit[access.NewToken]) -> access.NewToken:
        made = await access.create(
            write.db, request, actor=write.actor.name, now=write.now, commit=commit
        )
        secrets.append(made.secret)
        return made

    answer = await write.rehearse(
        use_case, lambda made: Answer(201, token_json(made.token), {"Location": _place(made.token)})
    )
    told = answer.body | {"token": secrets[0]} if secrets else answer.body
    return Answer(answer.status, told, answer.headers).response()


@router.get("")
async def list_tokens(db: DbDep, _: AdminDep) -> Response:
    """List every token; their secrets are not known."""
    return list_response(map(token_json, await access.listed(db)))


@router.delete("/{name}", status_code=200)
async def revoke_token(name: TokenPath, write: AdminWriteDep) -> Response:
    """Revoke a token; it works for five more seconds at most."""
    answer = await write.rehearse(
        lambda commit: access.revoke(
            write.db, name, actor=write.actor.name, now=write.now, commit=commit
        ),
        lambda revoked: Answer(200, token_json(revoked)),
    )
    write.running.access.forget()
    return answer.response()


def token_json(token: Token) -> dict[str, Any]:
    """A token, as the API shows it."""

    def when(at: Any) -> str | None:
        return at.isoformat() if at is not None else None

    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "kind": token.kind,
        "created_at": when(token.created_at),
        "expires_at": when(token.expires_at),
        "revoked_at": when(token.revoked_at),
        "last_used_at": when(token.last_used_at),
    }


def _place(token: Token) -> str:
    return f"/api/v1/tokens/{token.name}"
