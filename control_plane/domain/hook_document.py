"""Hooks as documents: what people write and the database holds. Everything is checked here, once.

A document that was accepted is read again without loss: `check(document_of(hook)) == hook`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from control_plane.domain.catalog import check_name
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.events import EventKind
from control_plane.domain.hook import (
    Command,
    Doing,
    FailIf,
    Hook,
    Http,
    Moment,
    OnFailure,
    Place,
    Scope,
    Test,
    WarmUp,
)

MOST_TIMEOUT_S: Final = 600.0
MOST_RETRIES: Final = 10
METHODS: Final = ("POST", "PUT", "GET")
WARM_UP: Final = "warm_up"
_FIELDS: Final = (
    *("name", "fleet", "model", "moment", "http", "command", "builtin", "scope", "order"),
    *("timeout_s", "retries", "on_failure", "fail_if", "events"),
)
_PER_SERVER: Final = (Moment.AFTER_LOAD, Moment.BEFORE_UNLOAD, Moment.AFTER_UNLOAD)
_WITHOUT_SERVERS: Final = (Moment.ON_FAILURE, Moment.ON_EVENT)
_WARMABLE: Final = (Moment.AFTER_LOAD, Moment.BEFORE_PROMOTE, Moment.AFTER_PROMOTE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{0,4096}")
_OURS: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"x-request-id", "x-rollout-id"}
)
T = TypeVar("T", Moment, Scope, OnFailure)


def check(document: Mapping[str, Any]) -> Hook:
    """Return the hook that a document describes.

    Raises:
        FieldInvalid: a field is unknown, missing, of the wrong type or out of range; `field` is
            its path in the document.
    """
    _known(document, _FIELDS, "")
    moment = _one_of("moment", document.get("moment"), Moment)
    doing = _doing(document)
    scope = _scope(document, moment, doing)
    lenient = moment is Moment.BEFORE_UNLOAD
    default = OnFailure.CONTINUE if lenient else OnFailure.ABORT
    return Hook(
        name=check_name("name", _text(document, "name")),
        fleet=check_name("fleet", _text(document, "fleet", "default")),
        moment=moment,
        doing=doing,
        scope=scope,
        on_failure=_one_of("on_failure", document.get("on_failure", default), OnFailure),
        model=_model(_text(document, "model", "")),
        order=int(_number("order", document.get("order", 0), (-1000, 1000), whole=True)),
        timeout_s=_timeout_s(document.get("timeout_s", 10.0)),
        retries=int(_number("retries", document.get("retries", 2), (0, MOST_RETRIES), whole=True)),
        fail_if=_fail_if(document.get("fail_if"), doing),
        events=_events(document.get("events"), moment),
    )


def document_of(hook: Hook) -> dict[str, Any]:
    """Write a hook as its document."""
    written: dict[str, Any] = {
        "name": hook.name,
        "fleet": hook.fleet,
        "model": hook.model,
        "moment": str(hook.moment),
        **_written(hook.doing),
        "scope": str(hook.scope),
        "order": hook.order,
        "timeout_s": hook.timeout_s,
        "retries": hook.retries,
        "on_failure": str(hook.on_failure),
    }
    if (rule := hook.fail_if) is not None:
        compared = {} if rule.test is Test.THERE else {str(rule.test): rule.value}
        written["fail_if"] = {str(rule.place): rule.name} | compared
    if hook.events:
        written["events"] = list(hook.events)
    return written


def check_url(field: str, url: str) -> str:
    """Return a URL that a hook may call.

    Raises:
        FieldInvalid: not http or https, without a host, or with a password in it.
    """
    hint = "http://host:port/path or https://host/path"
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > 2_048:
        raise FieldInvalid(field, "is not a URL", hint=hint)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    if not usable:
        raise FieldInvalid(field, "is not a URL that can be called", hint=hint)
    if "@" in parts.netloc:
        raise FieldInvalid(field, "holds a user or password", hint="send them in `headers`")
    return url


def _written(doing: Doing) -> dict[str, Any]:
    match doing:
        case Http(url, method, headers):
            return {"http": {"url": url, "method": method, "headers": dict(headers)}}
        case Command(name):
            return {"command": name}
        case WarmUp():
            return {"builtin": WARM_UP}


def _doing(document: Mapping[str, Any]) -> Doing:
    given = [name for name in ("http", "command", "builtin") if document.get(name) is not None]
    if len(given) != 1:
        raise FieldInvalid("http", "name exactly one of http, command, builtin")
    match given[0]:
        case "http":
            return _http(document["http"])
        case "command":
            return Command(check_name("command", _text(document, "command")))
        case _:
            if document["builtin"] != WARM_UP:
                raise FieldInvalid("builtin", f"the only one is {WARM_UP}")
            return WarmUp()


def _http(given: Any) -> Http:
    asked = _object("http", given)
    _known(asked, ("url", "method", "headers"), "http.")
    method = asked.get("method", "POST")
    if method not in METHODS:
        raise FieldInvalid("http.method", f"is one of {', '.join(METHODS)}")
    url = asked.get("url")
    if not isinstance(url, str):
        raise FieldInvalid("http.url", "is missing" if url is None else "is not text")
    return Http(check_url("http.url", url), method, _headers(asked.get("headers", {})))


def _headers(given: Any) -> Mapping[str, str]:
    headers = _object("http.headers", given)
    if len(headers) > 32:
        raise FieldInvalid("http.headers", "are more than 32")
    for name, value in headers.items():
        where = f"http.headers.{name[:80]}"
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise FieldInvalid(where, "is not a header that can be set here")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise FieldInvalid(where, "is at most 4096 printable ASCII characters")
    return dict(headers)


def _scope(document: Mapping[str, Any], moment: Moment, doing: Doing) -> Scope:
    per_server = moment in _PER_SERVER or isinstance(doing, WarmUp)
    default = Scope.SERVER if per_server else Scope.ROLLOUT
    scope = _one_of("scope", document.get("scope", default), Scope)
    if isinstance(doing, WarmUp) and moment not in _WARMABLE:
        raise FieldInvalid("builtin", f"{WARM_UP} is for {', '.join(_WARMABLE)}")
    if isinstance(doing, WarmUp) and scope is not Scope.SERVER:
        raise FieldInvalid("scope", f"{WARM_UP} is for servers")
    if scope is Scope.SERVER and moment in _WITHOUT_SERVERS:
        raise FieldInvalid("scope", f"{moment} is about no server")
    return scope


def _fail_if(given: Any, doing: Doing) -> FailIf | None:
    if given is None:
        return None
    if not isinstance(doing, Http):
        raise FieldInvalid("fail_if", "is for http")
    rule = _object("fail_if", given)
    _known(rule, (*Place, "equals", "not_equals"), "fail_if.")
    places = [one for one in Place if one in rule]
    tests = [one for one in (Test.EQUALS, Test.NOT_EQUALS) if one in rule]
    if len(places) != 1:
        raise FieldInvalid("fail_if", "names exactly one of header, json")
    if len(tests) > 1:
        raise FieldInvalid("fail_if", "names one of equals, not_equals, or neither")
    name = _text(rule, places[0], where="fail_if.")
    if not 1 <= len(name) <= 256:
        raise FieldInvalid(f"fail_if.{places[0]}", "is 1 to 256 characters")
    test = tests[0] if tests else Test.THERE
    value = rule[test] if tests else None
    _comparable(places[0], test, value)
    return FailIf(places[0], name, test, value)


def _comparable(place: Place, test: Test, value: Any) -> None:
    if test is Test.THERE:
        return
    if place is Place.HEADER and not isinstance(value, str):
        raise FieldInvalid(f"fail_if.{test}", "is text, as headers are")
    if isinstance(value, dict | list) or (isinstance(value, str) and len(value) > 1_024):
        raise FieldInvalid(f"fail_if.{test}", "is text (1024 at most), a number, true, false, null")


def _events(given: Any, moment: Moment) -> tuple[str, ...]:
    if moment is not Moment.ON_EVENT:
        if given:
            raise FieldInvalid("events", f"are for {Moment.ON_EVENT}")
        return ()
    if not isinstance(given, list | tuple) or not given:
        raise FieldInvalid("events", f"names the kinds that {Moment.ON_EVENT} is about")
    for index, kind in enumerate(given):
        if kind not in tuple(EventKind):
            raise FieldInvalid(f"events.{index}", "is no kind of event", hint="see `GET /events`")
    return tuple(dict.fromkeys(given))


def _model(text: str) -> str:
    return check_name("model", text) if text else ""


def _timeout_s(given: Any) -> float:
    found = _number("timeout_s", given, (0, MOST_TIMEOUT_S))
    if found <= 0:
        raise FieldInvalid("timeout_s", f"is above 0 and at most {MOST_TIMEOUT_S:g} seconds")
    return found


def _number(field: str, given: Any, between: tuple[float, float], *, whole: bool = False) -> float:
    kinds = int if whole else int | float
    low, high = between
    if isinstance(given, bool) or not isinstance(given, kinds) or not low <= given <= high:
        kind = "a whole number" if whole else "a number"
        raise FieldInvalid(field, f"is {kind} from {low:g} to {high:g}")
    return float(given)


def _one_of(field: str, given: Any, kind: type[T]) -> T:
    if given is None:
        raise FieldInvalid(field, "is missing", hint=_choices(kind))
    if not isinstance(given, str) or given not in tuple(kind):
        raise FieldInvalid(field, f"is one of {_choices(kind)}")
    return kind(given)


def _choices(kind: type[T]) -> str:
    return ", ".join(kind)


def _text(document: Mapping[str, Any], name: str, default: str = "", *, where: str = "") -> str:
    given = document.get(name, default)
    if not isinstance(given, str):
        raise FieldInvalid(f"{where}{name}", "is not text")
    return given


def _object(field: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise FieldInvalid(field, "is not an object")
    return given


def _known(document: Mapping[str, Any], names: Collection[str], where: str) -> None:
    for name in document:
        if name not in names:
            raise FieldInvalid(f"{where}{str(name)[:80]}", "is not known here")
