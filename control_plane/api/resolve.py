"""Resolve: where a label points. The hot path, so it is plain ASGI: one look into a dict, no more.

Who asks was checked before; every role may read. The framework's own routing would cost several
times what the answer does.
"""

from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from control_plane.api import problems
from control_plane.api.deps import check_query
from control_plane.api.parts import Running
from control_plane.domain.catalog import NAME_PATTERN
from control_plane.domain.errors import ControlPlaneError
from control_plane.services.access import Role

PATH: Final = "/api/v1/fleets/{fleet}/models/{model}/labels/{label}"
NAME: Final = "resolve_label"
ROLE: Final = Role.VIEWER
FRESH_S: Final = 1.0


class Resolve:
    """Answers from the snapshot."""

    def __init__(self, running: Running) -> None:
        self._resolved = running.resolved
        self._feed = running.feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes that are ready, or a problem."""
        asked = scope["path_params"]
        scope["handler"] = NAME
        try:
            scope["actor"].require(ROLE)
            if scope["query_string"]:
                check_query(QueryParams(scope["query_string"]), frozenset())
            if self._resolved.doubted:
                await self._resolved.settle()
            body = self._resolved.answer(asked["fleet"], asked["model"], asked["label"])
        except ControlPlaneError as error:
            await problems.problem(error, scope["request_id"])(scope, receive, send)
            return
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(body)),
                    *self._age(),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _age(self) -> list[tuple[bytes, bytes]]:
        """Say how old the answer may be when the database does not answer; else it is fresh."""
        age_s = self._feed.age_s()
        return [(b"age", b"%d" % age_s)] if age_s > FRESH_S else []


def route(running: Running) -> Route:
    """The route; it goes before all others."""
    made = Route(PATH, Resolve(running), methods=["GET"], name=NAME)
    made.methods = {"GET"}  # without HEAD, as the other routes
    return made


def openapi_path() -> dict[str, Any]:
    """What the OpenAPI document says of it."""
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": NAME_PATTERN},
        }
        for name in ("fleet", "model", "label")
    ]
    return {
        "get": {
            "tags": ["resolve"],
            "summary": "Resolve Label",
            "description": "Say where a label points and how many servers answer so.\n\n"
            "`version` is where every server of ours has it, or is told to. While `moving`, a"
            " rollout has yet to bring it elsewhere everywhere: `servers` has by version how many"
            " were last seen answering with it.\n\n"
            "The answer is never older than a second, unless the database does not answer: then it"
            " has an `Age`, in seconds.",
            "operationId": NAME,
            "parameters": parameters,
            "responses": {
                "200": {"description": "Where it points"},
                "404": {"description": "No such fleet, model or label"},
            },
        }
    }
