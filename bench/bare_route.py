"""`python -m bench.bare_route DATABASE PORT BODY`: a FastAPI route that returns bytes it was given.

It has what every route of ours has, and from the same code: the server's settings, the access log's
switch, request ids, limits, the token check and the metrics. It has nothing else.
"""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
import uvloop
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from control_plane import settings
from control_plane.api import problems
from control_plane.api.middleware import Front, Metrics
from control_plane.api.parts import ApiOptions
from control_plane.bootstrap import _server_config, clock, new_id
from control_plane.services.access import Access
from control_plane.store.database import Database

PATH = "/api/v1/bare"


def bare_app(db: Database, body: bytes) -> ASGIApp:
    """Return the application."""

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        await db.close()

    app = FastAPI(lifespan=living, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get(PATH)
    async def bare() -> Response:
        return Response(body, media_type="application/json")

    app.add_middleware(
        Front,
        access=Access(db, clock),
        auth_required=True,
        metrics=Metrics(CollectorRegistry()),
        options=ApiOptions(),
        id_prefix=new_id(),
    )
    problems.install(app)
    return app


def main(database: str, port: str, body: str) -> None:
    """Serve until told to end."""
    app = bare_app(Database.open(f"sqlite:///{database}"), body.encode())
    server = uvicorn.Server(_server_config(app, settings.load()))
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        uvloop.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    main(*sys.argv[1:])
