"""TensorFlow Serving's REST front: which path means what, and the answers as JSON.

Paths are matched as they were sent, query and all; only what they name is percent-decoded. The
case of a path does not matter, except that `:predict` and its like are known in lower case only,
and that `/METADATA` is status.
"""

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format

from control_plane.devserver.answers import SIGNATURES, Answers, unimplemented
from control_plane.devserver.monitoring import Metrics
from control_plane.devserver.refusal import Code, Refusal
from control_plane.domain.errors import PredictionFailed, PredictionRefused
from control_plane.serving import stubs, wire

_FLAGS = re.IGNORECASE | re.ASCII
_WHICH = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_OURS = re.compile(r"/v1/.*", _FLAGS)
_PATHS = {
    "POST": re.compile(
        rf"/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<action>classify|regress|predict)", _FLAGS
    ),
    "GET": re.compile(
        rf"/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<action>metadata))?", _FLAGS
    ),
}
_CHARACTER = r"(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})"
_URI = re.compile(
    rf"(?P<path>{_CHARACTER}*)(?:\?(?:{_CHARACTER}|\?)*)?(?:#(?:{_CHARACTER}|\?)*)?", _FLAGS
)
_ORIGIN = re.compile("https?://")
_MAX_VERSION = 2**63 - 1
_MAX_DIGITS = len(str(_MAX_VERSION))
_JSON, _TEXT, _HTML = "application/json", "text/plain", "text/html"
_HTTP = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNKNOWN: 500,
    Code.INTERNAL: 500,
    Code.DATA_LOSS: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_PAGES = {400: "Bad Request", 404: "Not Found"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, with the path and what follows it as they were sent."""

    method: str
    uri: str
    body: bytes = b""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back."""

    status: int
    body: bytes = b""
    kind: str = _JSON


class _Unread(Refusal):
    """A refusal that is answered without a word."""


class Rest:
    """Answers HTTP requests."""

    def __init__(self, answers: Answers, metrics: Metrics, metrics_path: str | None) -> None:
        self._answers = answers
        self._metrics = metrics
        self._metrics_path = metrics_path

    def reply(self, request: Request) -> Reply:
        """Answer one request."""
        uri = _URI.fullmatch(request.uri)
        if uri is None:
            return _page(400)
        if uri["path"] == self._metrics_path:
            return self._exported(request.uri)
        if not _OURS.fullmatch(request.uri):
            return _page(404)
        return self._counted(request)

    def _exported(self, uri: str) -> Reply:
        if uri != self._metrics_path:
            told = f"Unexpected path: {uri}. Should be {self._metrics_path}"
            return Reply(400, told.encode(), _TEXT)
        return Reply(200, self._metrics.page().encode(), _TEXT)

    def _counted(self, request: Request) -> Reply:
        pattern = _PATHS.get(request.method)
        found = pattern.fullmatch(request.uri) if pattern else None
        model = unquote(found["model"] or "") if found else ""
        api = found["action"] if found and request.method == "POST" else ""
        try:
            with self._metrics.request(model, api, "REST"):
                return Reply(200, self._answer(request, found, model))
        except _Unread as refusal:
            return Reply(_HTTP[refusal.code])
        except Refusal as refusal:
            return Reply(_HTTP[refusal.code], json.dumps({"error": refusal.message}).encode())

    def _answer(self, request: Request, found: re.Match[str] | None, model: str) -> bytes:
        if request.method == "OPTIONS":
            return _preflight(request.origin)
        if found is None:
            raise _malformed(request)
        spec = _spec(model, found)
        match request.method, found["action"]:
            case "POST", "predict":
                return self._predicted(spec, request.body)
            case "POST", "classify" | "regress":
                return unimplemented(request)
            case "POST", _:
                raise _malformed(request)
            case _ if not model:
                raise Refusal(Code.INVALID_ARGUMENT, "Missing model name in request.")
            case _, "metadata":
                return self._described(spec)
            case _:
                return _json(self._answers.status(spec), as_in_proto=False)

    def _predicted(self, spec: Any, body: bytes) -> bytes:
        """Resolve the version twice, as the real server does: to read the JSON, and to run."""
        try:
            document = wire.loads(body, as_the_server=True)
            request, layout = wire.predict_request(document, self._answers.signatures(spec))
            request.model_spec.MergeFrom(spec)
            response = self._answers.predict(request)
            return wire.dumps(wire.answer(response.outputs, layout))
        except PredictionRefused as error:
            raise Refusal(Code[error.details["grpc_code"]], error.message) from None
        except PredictionFailed as error:  # a type that JSON has no words for
            raise Refusal(Code.UNIMPLEMENTED, error.message) from None

    def _described(self, spec: Any) -> bytes:
        found = self._answers.metadata(spec, [SIGNATURES])
        signatures = stubs.SignatureDefMap()
        found.metadata[SIGNATURES].Unpack(signatures)
        named, listed = (_json(one, as_in_proto=True) for one in (found.model_spec, signatures))
        return b'{"model_spec": %b, "metadata": {"%b": %b}}' % (named, SIGNATURES.encode(), listed)


def _spec(model: str, found: re.Match[str]) -> Any:
    spec = stubs.ModelSpec(name=model)
    if version := found["version"]:
        if len(version.lstrip("0")) > _MAX_DIGITS or int(version) > _MAX_VERSION:
            message = f"Failed to convert version: {version} to numeric."
            raise _Unread(Code.INVALID_ARGUMENT, message)
        spec.version.value = int(version)
    if label := found["label"]:
        spec.version_label = unquote(label)
    return spec


def _preflight(origin: str) -> bytes:
    if not _ORIGIN.search(origin):
        message = "Origin header is missing in CORS preflight"
        raise Refusal(Code.FAILED_PRECONDITION, message)
    return b""


def _malformed(request: Request) -> Refusal:
    message = f"Malformed request: {request.method} {request.uri}"
    return Refusal(Code.INVALID_ARGUMENT, message)


def _json(message: Any, *, as_in_proto: bool) -> bytes:
    """Write a message, 64-bit numbers as strings and fields without a value too."""
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=as_in_proto,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    ).encode()


def _page(status: int) -> Reply:
    """Give the page of the HTTP server itself, for what never reaches the REST front."""
    words = _PAGES[status]
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {words}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{words}</H1>\n</BODY></HTML>\n"
    )
    return Reply(status, page.encode(), _HTML)
