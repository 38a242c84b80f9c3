"""Every error as `application/problem+json` (RFC 9457).

One table gives the status, looked up along the MRO: a new error gets its family's status free.
"""

import http
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from control_plane.domain import errors

MEDIA_TYPE: Final = "application/problem+json"
_STATUS: Mapping[type[errors.ControlPlaneError], int] = {
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.PreconditionFailed: 412,
    errors.Frozen: 423,
    errors.Conflict: 409,
    errors.NotAuthenticated: 401,
    errors.Denied: 403,
    errors.Rejected: 400,
    errors.StoreFull: 507,
    errors.Transient: 503,
    errors.ControlPlaneError: 500,
}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "1"},
    507: {"Retry-After": "5"},
}
_PHRASES: Mapping[int, str] = {413: "Body Too Large"}  # the standard's own changed with time
_NO_OBJECT: Final = ("missing", "model_attributes_type", "model_type", "dict_type")
_WORDS: Final = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "dict_type": "must be an object",
}
_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "request_id", "hint"})


def status_of(kind: type[errors.ControlPlaneError]) -> int:
    """Return the HTTP status of an error class: its own or its nearest ancestor's."""
    return next(_STATUS[cls] for cls in kind.__mro__ if cls in _STATUS)


def problem(error: errors.ControlPlaneError, request_id: str) -> Response:
    """Return the error as a response; its details become members of the problem."""
    kind = type(error)
    extra = {key: value for key, value in error.details.items() if key not in _MEMBERS}
    if error.hint:
        extra["hint"] = error.hint
    title = (kind.__doc__ or "").strip().splitlines()[0]
    return _response(status_of(kind), error.code, title, error.message, request_id, extra)


def http_problem(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem of HTTP's own, such as 404 for an unknown path or 405."""
    title = _PHRASES.get(status) or http.HTTPStatus(status).phrase
    code = title.lower().replace(" ", "-")
    response = _response(status, code, title, detail, request_id, {})
    response.headers.update(headers or {})
    return response


def install(app: FastAPI) -> None:
    """Let every error of the app, the framework's own included, answer as a problem."""
    app.add_exception_handler(errors.ControlPlaneError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_crash)


def _response(
    status: int, code: str, title: str, detail: str, request_id: str, extra: Mapping[str, Any]
) -> Response:
    body = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **extra,
    }
    # ASCII escapes keep a lone surrogate, echoed from the request, from breaking the answer.
    text = json.dumps(body, default=str)
    return Response(text, status, headers=dict(_HEADERS.get(status, {})), media_type=MEDIA_TYPE)


def _request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


async def _on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ControlPlaneError)  # noqa: S101 - narrows for mypy
    return problem(error, _request_id(request))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows for mypy
    if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
        text = "the body is not JSON in UTF-8, or nested too deeply"
        return _invalid([{"field": "", "message": text}], _request_id(request))
    return http_problem(error.status_code, error.detail, _request_id(request), error.headers)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - narrows for mypy
    return _invalid([_field_error(one) for one in error.errors()[:100]], _request_id(request))


def _invalid(found: Sequence[Mapping[str, str]], request_id: str) -> Response:
    first = found[0]
    detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    title = (errors.Invalid.__doc__ or "").strip()
    extra: dict[str, Any] = {"errors": found}
    if "hint" in first:
        extra["hint"] = first["hint"]
    return _response(422, "invalid", title, detail, request_id, extra)


async def _on_crash(request: Request, error: Exception) -> Response:
    del error  # the server logs it; its text may hold what callers should not see
    text = "the control plane failed; its log has the details under this request id"
    request_id = _request_id(request)
    return http_problem(500, text, request_id, {"X-Request-Id": request_id})


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    message, context = str(error["msg"]), error.get("ctx", {})
    if error["type"] == "json_invalid":
        return {"field": "", "message": f"the body is not JSON: {context.get('error', message)}"}
    if tuple(error["loc"]) == ("body",) and error["type"] in _NO_OBJECT:
        what = "missing" if error["type"] == "missing" else f"{_given(error.get('input'))}"
        return {"field": "", "message": f"the body is {what}; send a JSON object"}
    found = {"field": _field_name(error["loc"]), "message": _told(error)}
    return found | {"hint": context["hint"]} if context.get("hint") else found


def _told(error: Mapping[str, Any]) -> str:
    """Our own words for what the framework found, with what was given."""
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] in _WORDS:
        return _WORDS[error["type"]]
    _, framework, rest = message.rpartition(" should ")
    if not framework:
        return message
    if error["type"].endswith("_parsing"):
        rest = rest.partition(", ")[0]
    return f"should {rest.replace(' after validation', '')}; given: {_given(error.get('input'))}"


def _given(value: object) -> str:
    """What was sent, cut short."""
    match value:
        case dict():
            return "an object" if value else "an empty object"
        case list():
            return "a list" if value else "an empty list"
        case None | bool():
            return json.dumps(value)
        case _:
            return repr(value)[:80]


def _field_name(location: Sequence[str | int]) -> str:
    """`("body", "labels", "stable")` -> `labels.stable`; where it stood is plain from the name."""
    names = [str(part) for part in location]
    if names and names[0] in ("body", "path", "query", "header"):
        names = names[1:]
    return ".".join(name for name in names if name != "[key]")


def explained() -> dict[str, dict[str, object]]:
    """Every code of our own with its status and meaning."""
    found: dict[str, dict[str, object]] = {}
    waiting: list[type[errors.ControlPlaneError]] = [errors.ControlPlaneError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        title = (kind.__doc__ or "").strip().splitlines()[0]
        found[kind.code] = {"code": kind.code, "status": status_of(kind), "title": title}
    return found
