"""The API in this process, over a real database; no server is needed unless a test says so."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from control_plane.api.app import ApiOptions, AppParts, create_app
from control_plane.domain.address import Address
from control_plane.domain.audit import Keys
from control_plane.services import access
from control_plane.services.access import Role, TokenRequest
from control_plane.services.commit import nothing_more
from control_plane.serving.client import GrpcModelServer
from control_plane.serving.lookup import Lookup
from control_plane.store.database import Database
from tests.databases import sqlite_url

MODELS = Path(__file__).parents[1] / "models"
_numbers = itertools.count(1)


@dataclass
class Nudges:
    """Stands where the loop would: remembers which fleets it was told to look at."""

    fleets: list[str] = field(default_factory=list)
    told: Callable[[], None] | None = None
    latencies: dict[tuple[str, str], float] = field(default_factory=dict)

    def nudge(self, fleet: str) -> None:
        self.fleets.append(fleet)

    def listen(self, call: Callable[[], None]) -> None:
        self.told = call

    def latency_ms(self, fleet: str, server: str) -> float | None:
        return self.latencies.get((fleet, server))


def new_id() -> str:
    return f"t{next(_numbers):07d}"


def new_secret() -> str:
    return f"{next(_numbers):043d}"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Api:
    """A client, and what the application behind it is made of."""

    http: httpx.AsyncClient
    app: FastAPI
    parts: AppParts
    nudges: Nudges

    @property
    def db(self) -> Database:
        return self.parts.db

    async def ok(self, method: str, path: str, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        answer = await self.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The problem of an answer that must be an error."""
        answer = await self.http.request(method, path, **more)
        assert answer.is_error, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        members = {"type", "title", "status", "detail", "code", "request_id"}
        assert members <= problem.keys()
        assert problem["status"] == answer.status_code
        assert problem["request_id"] == answer.headers["x-request-id"]
        return problem


@asynccontextmanager
async def serving(
    url: str,
    *,
    auth_required: bool = False,
    options: ApiOptions | None = None,
    started: bool = True,
    turns: bool = True,
    audit_keys: Keys | None = None,
) -> AsyncIterator[Api]:
    """Run the API over a database."""
    db, nudges = Database.open(url, audit_keys=audit_keys), Nudges()
    parts = AppParts(
        db=db,
        auth_required=auth_required,
        reconciler=nudges,
        connect=GrpcModelServer,
        clock=now,
        new_id=new_id,
        new_secret=new_secret,
        registry=CollectorRegistry(),
        lookup=Lookup([Address("127.0.0.1", 9)], timeout_s=1.0),  # nobody: DNS is for other tests
        started=lambda: started,
        turns=lambda: turns,
        options=options or ApiOptions(),
    )
    app = create_app(parts)
    transport = httpx.ASGITransport(app=app)
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as http,
        ):
            yield Api(http, app, parts, nudges)
    finally:
        await db.close()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The API without tokens."""
    async with serving(sqlite_url(tmp_path)) as running:
        yield running


async def token(db: Database, name: str, role: Role) -> str:
    """The secret of a new token."""
    request = TokenRequest(name, role, new_id(), new_secret())
    made = await access.create(db, request, actor="test", now=now(), commit=nothing_more)
    return made.secret


async def half_plus_two(api: Api, *versions: int) -> None:
    """Register the model `half_plus_two` and some of its versions."""
    body = {"name": "half_plus_two", "base_path": str(MODELS / "half_plus_two")}
    await api.ok("POST", "/models", json=body)
    path = "/models/half_plus_two/versions"
    bodies = ({"version": number} for number in versions)
    await asyncio.gather(*(api.ok("POST", path, json=body) for body in bodies))
