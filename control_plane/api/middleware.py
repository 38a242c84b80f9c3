"""What every request passes: an id, limits, who it is, and the metrics. Plain ASGI, no wrapping.

Whoever has no valid token learns nothing under `/api/v1`, not even which paths exist.
"""

import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.api import problems
from control_plane.api.parts import ApiOptions
from control_plane.domain.errors import ControlPlaneError, Denied, NotAuthenticated
from control_plane.domain.request_set import MOST_BYTES
from control_plane.services.access import KEY_HOLDER, LOCAL, Access, Actor, is_same
from control_plane.store import deeds
from control_plane.store.deeds import Deed

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_GUARDED: Final = "/api/v1/"
_SHUTDOWN: Final = "/api/v1/admin:shutdown"  # has a key of its own
_UPLOADS: Final = "/request-sets/"
_UPLOAD_TYPES: Final = (b"application/octet-stream", b"application/x-ndjson")
_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_NOT_STORED: Final = (*_SECURITY, (b"cache-control", b"no-store"))
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)


class Metrics:
    """Requests by handler, method and status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "tfsctl_http_requests",
            "HTTP requests answered.",
            ("handler", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "tfsctl_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("handler",),
            registry=registry,
            buckets=_BUCKETS,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, handler: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        child = self._children.get((handler, method, status))
        if child is None:
            child = (
                self._requests.labels(handler, method, str(status)),
                self._seconds.labels(handler),
            )
            self._children[handler, method, status] = child
        child[0].inc()
        child[1].observe(seconds)


@dataclass(slots=True)
class _Head:
    """The headers that matter here."""

    authorization: bytes = b""
    request_id: bytes = b""
    content_length: bytes = b""
    content_type: bytes = b""
    fetch_site: bytes = b""
    chunked: bool = False


class Front:
    """The outermost layer of our own."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        auth_required: bool,
        metrics: Metrics,
        options: ApiOptions,
        id_prefix: str,
    ) -> None:
        self._app = app
        self._access = access
        self._auth_required = auth_required
        self._metrics = metrics
        self._options = options
        self._ids = (f"{id_prefix}-{number:x}".encode() for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass anything else on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        head = _head(scope["headers"])
        request_id = head.request_id if _REQUEST_ID.fullmatch(head.request_id) else next(self._ids)
        scope["request_id"] = request_id.decode()
        told = _NOT_STORED if scope["path"].startswith(_GUARDED) else _SECURITY
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    *told,
                ]
            await send(message)

        try:
            if scope["method"] in _READS:
                await self._admit(scope, head, receive, sending)
            else:
                with deeds.doing(_deed(scope)):
                    await self._admit(scope, head, receive, sending)
        finally:
            handler = scope.get("handler") or getattr(scope.get("route"), "name", None)
            self._metrics.observe(
                handler or "none", _method(scope), status, time.perf_counter() - started
            )

    async def _admit(self, scope: Scope, head: _Head, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in _READS:
                receive = self._intake(scope, head, receive)
            if scope["path"].startswith(_GUARDED):
                scope["actor"] = actor = await self._who(scope["path"], head.authorization)
                deeds.by(actor.name, actor.token)
        except ControlPlaneError as error:
            refusal = problems.problem(error, scope["request_id"])
            await refusal(scope, receive, send)
            return
        except HTTPException as error:
            refusal = problems.http_problem(error.status_code, error.detail, scope["request_id"])
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _who(self, path: str, authorization: bytes) -> Actor:
        bears = authorization[:7].lower() == b"bearer "
        secret = authorization[7:].decode("latin-1") if bears else ""
        key = self._options.shutdown_key
        if path == _SHUTDOWN and key and is_same(secret, key):
            return KEY_HOLDER
        if not self._auth_required:
            return LOCAL
        if not bears:
            raise NotAuthenticated
        return self._access.peek(secret) or await self._access.check(secret)

    def _intake(self, scope: Scope, head: _Head, receive: Receive) -> Receive:
        if head.fetch_site in (b"cross-site", b"same-site"):
            raise Denied("writes from pages of other sites are refused")
        predicting = scope["path"].endswith(":predict")
        uploading = _UPLOADS in scope["path"]
        limit = self._options.predict_body_bytes if predicting else self._options.body_bytes
        limit = MOST_BYTES if uploading else limit
        length = int(head.content_length) if head.content_length.isdigit() else 0
        if length > limit:
            raise _too_large(limit)
        ours = scope["path"].startswith(_GUARDED)  # pages ask where their forms come from instead
        if ours and (length or head.chunked) and not predicting:
            _check_type(head.content_type, uploading=uploading)
        return _bounded(receive, limit) if head.chunked else receive


def _deed(scope: Scope) -> Deed:
    client = scope["client"] or ("",)
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~")
    return Deed(str(client[0]), scope["request_id"], f"{scope['method']} {path}")


def _bounded(receive: Receive, limit: int) -> Receive:
    left = limit

    async def counting() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _too_large(limit)
        return message

    return counting


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes")


def _check_type(content_type: bytes, *, uploading: bool) -> None:
    """Let pass what a page of another site cannot send without being asked for."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"application/json" or kind.endswith(b"+json"):
        return
    if uploading and kind in _UPLOAD_TYPES:
        return
    known = "application/octet-stream" if uploading else "application/json"
    raise HTTPException(415, f"send the body as Content-Type: {known}")


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    known = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    return method if method in known else "other"


def _head(headers: Iterable[tuple[bytes, bytes]]) -> _Head:
    head = _Head()
    for name, value in headers:
        match name:
            case b"authorization":
                head.authorization = value
            case b"x-request-id":
                head.request_id = value
            case b"content-length":
                head.content_length = value
            case b"content-type":
                head.content_type = value
            case b"sec-fetch-site":
                head.fetch_site = value
            case b"transfer-encoding":
                head.chunked = True
            case _:
                pass
    return head
