"""What a hook's answer means, when it is tried again, and which documents are hooks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.errors import FieldInvalid
from control_plane.domain.hook import (
    MOST_PAUSE_S,
    Again,
    Answer,
    Bad,
    Good,
    Http,
    OnFailure,
    Outcome,
    Scope,
    judge_answer,
    judge_exit,
    pause_s,
)
from control_plane.domain.hook_document import check, document_of

HTTP = {"url": "http://127.0.0.1:9/x"}


def document(**changes: Any) -> dict[str, Any]:
    made = {"name": "h", "moment": "after_load", "http": HTTP} | changes
    return {name: value for name, value in made.items() if value is not None}


def judged(
    status: int, body: object = None, rule: dict[str, Any] | None = None, **headers: str
) -> Outcome:
    content = (
        body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    )
    hook = check(document(fail_if=rule))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge_answer(Answer(status, named, content), hook.fail_if)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Good) for status in (200, 204, 299)),
        *((status, Bad) for status in (199, 301, 400, 404, 429)),
        *((status, Again) for status in (500, 503)),
    ],
)
def test_only_a_servers_own_failure_is_tried_again(status: int, kind: type[Outcome]) -> None:
    assert isinstance(judged(status), kind)


def test_a_200_may_hide_a_failure_in_a_header() -> None:
    rule = {"header": "X-Fc-Error-Type"}
    assert isinstance(judged(200, rule=rule), Good)
    hidden = judged(200, rule=rule, x_fc_error_type="InitFailed")
    assert hidden == Bad('answered 200, but its header X-Fc-Error-Type is "InitFailed"')


@pytest.mark.parametrize(
    ("rule", "body", "fails"),
    [
        ({"json": "errorMessage"}, {"errorMessage": "boom"}, True),
        ({"json": "errorMessage"}, {"errorMessage": None}, False),
        ({"json": "errorMessage"}, {"errorMessage": ""}, False),
        ({"json": "errorMessage"}, {}, False),
        ({"json": "errorMessage"}, None, False),
        ({"json": "errorMessage"}, b"<html>", True),
        ({"json": "results.1.ok", "equals": False}, {"results": [{}, {"ok": False}]}, True),
        ({"json": "results.1.ok", "equals": False}, {"results": [{}, {"ok": 0}]}, False),
        ({"json": "results.9.ok", "equals": False}, {"results": []}, False),
        ({"json": "status", "not_equals": "ok"}, {"status": "ok"}, False),
        ({"json": "status", "not_equals": "ok"}, {"status": "bad"}, True),
        ({"json": "status", "not_equals": "ok"}, {}, True),
        ({"json": "status", "not_equals": "ok"}, None, True),
        ({"json": "code", "equals": 1}, {"code": True}, False),
        ({"json": "code", "equals": 1}, {"code": 1.0}, True),
        ({"json": "code", "equals": None}, {"code": None}, True),
    ],
)
def test_a_200_may_hide_a_failure_in_its_body(rule: dict[str, Any], body: Any, fails: bool) -> None:
    assert isinstance(judged(200, body, rule), Bad if fails else Good)


def test_deep_json_is_no_way_to_break_the_judge() -> None:
    assert isinstance(judged(200, b"[" * 60_000, {"json": "a"}), Bad)


def test_an_exit_is_judged_by_its_code() -> None:
    assert judge_exit(0) == Good("exit 0")
    assert judge_exit(3) == Bad("exit 3")
    assert judge_exit(-9) == Bad("ended by signal 9")


@given(st.integers(1, 1_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_are_jittered_and_have_an_end(attempt: int, jitter: float) -> None:
    assert 0.25 <= pause_s(attempt, jitter) <= MOST_PAUSE_S
    assert pause_s(attempt, jitter) <= pause_s(attempt + 1, jitter)
    assert pause_s(attempt, 0.0) < pause_s(attempt, 0.5)


def test_a_hook_of_few_words_gets_the_rest_by_its_moment() -> None:
    loaded = check(document())
    assert (loaded.fleet, loaded.model, loaded.scope) == ("default", "", Scope.SERVER)
    assert loaded.on_failure is OnFailure.ABORT
    assert loaded.doing == Http(HTTP["url"])
    assert check(document(moment="before_promote")).scope is Scope.ROLLOUT


def test_a_failing_pre_stop_does_not_block_the_stop_unless_told_to() -> None:
    assert check(document(moment="before_unload")).on_failure is OnFailure.CONTINUE
    told = check(document(moment="before_unload", on_failure="abort"))
    assert told.on_failure is OnFailure.ABORT


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fail_if": {"header": "X-Error"}},
        {"fail_if": {"json": "a.b", "equals": None}},
        {"fail_if": {"json": "a.b", "not_equals": 3}},
        {"http": HTTP | {"method": "GET", "headers": {"Authorization": "Bearer x"}}},
        {"http": None, "command": "purge"},
        {"http": None, "builtin": "warm_up"},
        {"moment": "on_event", "events": ["rollout.ended"]},
        {"model": "m", "order": -3, "timeout_s": 600, "retries": 0, "scope": "rollout"},
    ],
)
def test_a_hook_survives_being_written_and_read(changes: dict[str, Any]) -> None:
    hook = check(document(**changes))
    assert check(json.loads(json.dumps(document_of(hook)))) == hook


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": "no spaces"}),
        ("fleet", {"fleet": "../x"}),
        ("model", {"model": "a b"}),
        ("moment", {"moment": "sometimes"}),
        ("moment", {"moment": None}),
        ("http", {"command": "x"}),
        ("http", {"http": None}),
        ("http", {"http": "http://x"}),
        ("http.url", {"http": {}}),
        ("http.url", {"http": {"url": "ftp://x/"}}),
        ("http.url", {"http": {"url": "file:///etc/passwd"}}),
        ("http.url", {"http": {"url": "http://"}}),
        ("http.url", {"http": {"url": "http://u:p@host/"}}),
        ("http.url", {"http": {"url": "http://host:99999/"}}),
        ("http.url", {"http": {"url": "http://[::1/"}}),
        ("http.url", {"http": {"url": "http://a\nb/"}}),
        ("http.method", {"http": HTTP | {"method": "DELETE"}}),
        ("http.headers.Host", {"http": HTTP | {"headers": {"Host": "x"}}}),
        ("http.headers.A", {"http": HTTP | {"headers": {"A": "x\r\nB: y"}}}),
        ("http.headers", {"http": HTTP | {"headers": []}}),
        ("http.proxy", {"http": HTTP | {"proxy": "x"}}),
        ("command", {"http": None, "command": "/bin/sh -c x"}),
        ("command", {"http": None, "command": ["/bin/sh"]}),
        ("builtin", {"http": None, "builtin": "shell"}),
        ("builtin", {"http": None, "builtin": "warm_up", "moment": "before_load"}),
        ("scope", {"scope": "planet"}),
        ("scope", {"moment": "on_failure", "scope": "server"}),
        ("order", {"order": 1.5}),
        ("timeout_s", {"timeout_s": 601}),
        ("timeout_s", {"timeout_s": 0}),
        ("timeout_s", {"timeout_s": True}),
        ("retries", {"retries": -1}),
        ("on_failure", {"on_failure": "panic"}),
        ("fail_if", {"fail_if": {}}),
        ("fail_if", {"fail_if": {"header": "A", "json": "b"}}),
        ("fail_if", {"fail_if": {"json": "b", "equals": 1, "not_equals": 2}}),
        ("fail_if", {"http": None, "command": "x", "fail_if": {"header": "A"}}),
        ("fail_if.equals", {"fail_if": {"header": "A", "equals": 1}}),
        ("fail_if.regex", {"fail_if": {"header": "A", "regex": "x"}}),
        ("events", {"events": ["rollout.ended"]}),
        ("events", {"moment": "on_event"}),
        ("events.0", {"moment": "on_event", "events": ["nothing.ever"]}),
        ("argv", {"argv": ["/bin/sh"]}),
    ],
)
def test_what_is_no_hook_is_refused_with_the_path(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check(document(**changes))
    assert refused.value.field == field
