"""Hooks: what a user has run at a named moment of a rollout, and what came of it.

Decides what an answer or an exit means, and whether to try again. Only what may be different the
next time is tried again: a server's own failure and silence, not a refusal and not a verdict.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, assert_never


class Moment(enum.StrEnum):
    """When a hook runs."""

    BEFORE_LOAD = "before_load"
    AFTER_LOAD = "after_load"  # once per server and version: initialise, warm up
    BEFORE_PROMOTE = "before_promote"
    AFTER_PROMOTE = "after_promote"
    BEFORE_UNLOAD = "before_unload"  # a failing one never blocks the unload, unless told to
    AFTER_UNLOAD = "after_unload"
    ON_FAILURE = "on_failure"
    ON_EVENT = "on_event"


class Stand(enum.StrEnum):
    """How far all hooks of one moment of one rollout are."""

    DONE = "done"  # all ran, or failed with `on_failure: continue`, or there are none
    PENDING = "pending"
    FAILED = "failed"  # one with `on_failure: abort` has used up its retries


@dataclass(frozen=True, slots=True)
class HookFact:
    """The hooks of one moment, as a fact about a rollout."""

    stand: Stand
    sentence: str = ""


class Scope(enum.StrEnum):
    """How often a hook runs at its moment."""

    ROLLOUT = "rollout"  # once per version
    SERVER = "server"  # once per version and server


class OnFailure(enum.StrEnum):
    """What a hook that failed means for its rollout."""

    ABORT = "abort"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Http:
    """A request; 2xx is success unless `fail_if` says otherwise."""

    url: str
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A program that the local file of commands knows by this name; exit 0 is success."""

    name: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The version's own warm-up records, or a sample, sent to it by number."""


Doing = Http | Command | WarmUp


class Place(enum.StrEnum):
    """Where a 2xx may say that it is a failure."""

    HEADER = "header"
    JSON = "json"  # a path into the body, such as `error.code` or `results.0.ok`


class Test(enum.StrEnum):
    """When what stands there makes it one."""

    THERE = "there"  # it says something: not missing, empty, null or false
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"  # missing is not equal


@dataclass(frozen=True, slots=True)
class FailIf:
    """What makes a 2xx a failure: a header, or a field of the JSON body."""

    place: Place
    name: str
    test: Test = Test.THERE
    value: Any = None


@dataclass(frozen=True, slots=True)
class Hook:
    """What to run, when, how often, and what its failure means."""

    name: str
    fleet: str
    moment: Moment
    doing: Doing
    scope: Scope
    on_failure: OnFailure
    model: str = ""  # "": every model
    order: int = 0  # within its moment: the lower ones first, equal ones side by side
    timeout_s: float = 10.0
    retries: int = 2
    fail_if: FailIf | None = None
    events: tuple[str, ...] = ()  # kinds, for `on_event`


@dataclass(frozen=True, slots=True)
class Saved:
    """A hook as it is stored."""

    hook: Hook
    created_at: datetime
    created_by: str
    seq: int  # the newest event at its creation, or the newest that was looked at for it


@dataclass(frozen=True, slots=True)
class Good:
    """It did what it should."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Bad:
    """It failed, and would fail again."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Again:
    """It failed, and may work the next time."""

    sentence: str


Outcome = Good | Bad | Again


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt: what it means, its HTTP status or exit code, and what it wrote at its end."""

    outcome: Outcome
    status: int | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP target answered; the body as far as it was read."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    cut: bool = False  # there was more than was read


FIRST_PAUSE_S: Final = 0.5
MOST_PAUSE_S: Final = 30.0


def pause_s(attempt: int, jitter: float, first_s: float = FIRST_PAUSE_S) -> float:
    """How long to wait after a failed attempt (from 1); `jitter` is uniform in [0, 1)."""
    whole = min(first_s * 2.0 ** min(attempt - 1, 16), MOST_PAUSE_S)
    return whole * (0.5 + jitter / 2)


def judge_answer(answer: Answer, fail_if: FailIf | None) -> Outcome:
    """Say what an HTTP answer means."""
    told = f"answered {answer.status}"
    if answer.status >= 500:
        return Again(told)
    if 300 <= answer.status < 400:
        return Bad(f"{told}: redirects are not followed")
    if not 200 <= answer.status < 300:
        return Bad(told)
    hidden = _hidden_failure(answer, fail_if) if fail_if else ""
    return Bad(f"{told}, but {hidden}") if hidden else Good(told)


def judge_exit(code: int) -> Outcome:
    """Say what a command's end means; a negative code is the signal that ended it."""
    if code == 0:
        return Good("exit 0")
    return Bad(f"exit {code}" if code > 0 else f"ended by signal {-code}")


def _hidden_failure(answer: Answer, rule: FailIf) -> str:
    if rule.place is Place.HEADER:
        return _verdict(answer.headers.get(rule.name.lower()), rule)
    if not answer.body.strip():
        return _verdict(None, rule)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        size = "is too long" if answer.cut else "is no JSON"
        return f"its body {size}, so {rule.name} cannot be read"
    return _verdict(_at(document, rule.name), rule)


def _verdict(found: Any, rule: FailIf) -> str:
    match rule.test:
        case Test.THERE:
            fails = found not in (None, "", False)
        case Test.EQUALS:
            fails = _same(found, rule.value)
        case Test.NOT_EQUALS:
            fails = not _same(found, rule.value)
        case _:
            assert_never(rule.test)
    what = "header" if rule.place is Place.HEADER else "field"
    return f"its {what} {rule.name} is {_short(found)}" if fails else ""


def _same(found: Any, wanted: Any) -> bool:
    """Whether two JSON values are one; true is not 1."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _short(found: Any) -> str:
    if found is None:
        return "not there"
    text = json.dumps(found, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(document, dict):
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document
