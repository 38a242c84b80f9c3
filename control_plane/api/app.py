"""Composes the application from its parts, and runs what lives as long as it does."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from control_plane.api import (
    audit,
    deployments,
    doctor,
    events,
    evidence,
    fleets,
    holds,
    hooks,
    imports,
    models,
    overview,
    predict,
    problems,
    ready,
    request_sets,
    resolve,
    rollouts,
    search,
    served,
    servers,
    sources,
    strategies,
    system,
    tokens,
)
from control_plane.api.deps import known_query
from control_plane.api.middleware import Front, Metrics
from control_plane.api.parts import ApiOptions, AppParts, Reconciling, Running
from control_plane.domain.errors import Transient
from control_plane.services.access import Access
from control_plane.services.digests import hash_pending
from control_plane.services.feed import Feed
from control_plane.services.predict import Predictor
from control_plane.services.resolve import Resolved

__all__ = ["ApiOptions", "AppParts", "Reconciling", "Running", "create_app"]
DIGESTS_S: Final = 2.0
TOKENS_S: Final = 30.0


def create_app(parts: AppParts) -> FastAPI:
    """Return the whole API; its lifespan must be entered before it is used."""
    resolved = Resolved(parts.db)
    running = Running(
        parts=parts,
        access=Access(parts.db, parts.clock),
        feed=Feed(parts.db),
        resolved=resolved,
        predictor=Predictor(resolved, parts.connect),
    )
    app = FastAPI(
        title="TensorFlow Serving control plane",
        version=parts.version,
        lifespan=lambda _: _living(running),
        docs_url="/docs" if parts.options.docs else None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.running = running
    parts.reconciler.listen(running.feed.poke)
    app.router.routes.insert(0, resolve.route(running))
    app.router.routes.extend(_routes())
    app.add_middleware(
        Front,
        access=running.access,
        auth_required=parts.auth_required,
        metrics=Metrics(parts.registry),
        options=parts.options,
        id_prefix=parts.new_id(),
    )
    problems.install(app)
    _document(app)
    return app


@functools.cache
def _routes() -> tuple[BaseRoute, ...]:
    """All routes of the framework's kind, made once: handlers find their application themselves."""
    every = APIRouter()
    for one in (
        predict.router,
        deployments.router,
        holds.router,
        evidence.router,
        rollouts.router,
        strategies.router,
        servers.router,
        sources.router,
        doctor.router,
        models.router,
        request_sets.router,
        fleets.router,
        imports.router,
        events.router,
        overview.router,
        search.router,
        served.router,
        hooks.router,
        tokens.router,
        audit.router,
        ready.router,
        system.admin_router,
    ):
        every.include_router(one, prefix="/api/v1", dependencies=[Depends(known_query)])
    every.include_router(system.router)
    return tuple(every.routes)


def _document(app: FastAPI) -> None:
    """Add to the OpenAPI document what the framework does not see."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        document["paths"].setdefault(resolve.PATH, resolve.openapi_path())
        return document

    app.openapi = openapi  # type: ignore[method-assign]


@asynccontextmanager
async def _living(running: Running) -> AsyncIterator[None]:
    parts = running.parts
    with suppress(Transient):  # answers 404 until the database does; the task tries again
        await running.resolved.refresh_all()
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(running.feed.run()),
            tasks.create_task(running.resolved.run(running.feed)),
            tasks.create_task(_every(DIGESTS_S, lambda: hash_pending(parts.db, parts.clock))),
            tasks.create_task(_every(TOKENS_S, running.access.flush)),
        ]
        try:
            yield
        finally:
            await running.feed.close()
            for task in background:
                task.cancel()
    with suppress(Transient):
        await running.access.flush()
    await running.predictor.close()
    parts.lookup.close()


async def _every(period_s: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do some work now and then; what did not work this time is tried the next."""
    while True:
        with suppress(Transient):
            await work()
        await asyncio.sleep(period_s)
