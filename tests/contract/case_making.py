"""Requests made from the API's own document: such as fit it, and such as do not.

Half of them name what exists; else hardly any would get past the first look at a name.
"""

import json
import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok

Json = Any
Names = Mapping[str, Sequence[Json]]
IN_THE_WAY: Final = (
    "plan_hash",
    "expect",
    "from_label",
    "to_time",
)  # hardly ever right when made up
_QUIET: Final = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_NUMBERS: Final = st.floats(width=32) | st.integers() | st.sampled_from([1, 2.5, 1e39])
_TENSORS: Final = st.recursive(
    _NUMBERS | st.text(max_size=5) | st.none() | st.just({"b64": "5b6I"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
_PREDICT: Final = st.one_of(
    st.fixed_dictionaries({"instances": st.lists(_NUMBERS, max_size=3)}),
    st.fixed_dictionaries({"inputs": _TENSORS}, optional={"signature_name": st.text(max_size=5)}),
    st.fixed_dictionaries({"instances": _TENSORS}),
    _TENSORS,
    st.binary(max_size=20),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to be sent."""

    operation: str
    method: str
    target: str  # path and query
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def curl(self, url: str) -> str:
        """The command that sends it again; the token is the caller's affair."""
        words = ["curl", "-i", "--path-as-is", "-X", self.method, url + self.target]
        for name, value in self.headers.items():
            words += ["-H", f"{name}: {value}"]
        told = shlex.join([*words, "-H"]) + ' "Authorization: Bearer $TFSCTL_TOKEN"'
        if not self.content:
            return told
        octal = "".join(f"\\{byte:03o}" for byte in self.content)
        return f"printf '{octal}' | {told} --data-binary @-"


def requests(document: Json, names: Names, each: int, number: int) -> list[Request]:
    """Make up to `each` requests of each operation and kind of data, in an order of the seed's."""
    chance = random.Random(number)
    made: list[Request] = []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            if operation.path.endswith(":predict"):
                strategy = st.tuples(strategy, _PREDICT)
            made += (_request(one, names, chance) for one in _examples(strategy, each, number))
    chance.shuffle(made)
    return made


def _examples(strategy: st.SearchStrategy[Any], most: int, number: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(_QUIET, max_examples=most)
    @given(strategy)
    def take(one: Any) -> None:
        found.append(one)

    try:
        take()
    except Unsatisfiable:  # a call that takes nothing has no data that could be wrong
        return []
    return found


def _request(made: Any, names: Names, chance: random.Random) -> Request:
    case, body = made if isinstance(made, tuple) else (made, made.body)
    known = chance.random() < 0.5
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        choices = names.get(_key(case.path, name))
        told = chance.choice(choices) if known and choices else value
        path = path.replace(f"{{{name}}}", quote(str(told), safe=""))
    query = urlencode(list(_query(case.query or {}, known, names, chance)), errors="replace")
    if known and isinstance(body, dict):
        body = _familiar(body, names, chance)
    return Request(
        f"{case.method} {case.path}",
        case.method,
        f"{path}?{query}" if query else path,
        dict(_headers(case.headers or {}, chance, reads=case.method == "GET")),
        _content(body),
    )


def _key(path: str, name: str) -> str:
    """`name` alone means something else in each path."""
    return path.partition("/{name}")[0].rpartition("/")[2] if name == "name" else name


def _query(
    made: Mapping[str, Any], known: bool, names: Names, chance: random.Random
) -> Iterator[tuple[str, str]]:
    for name, value in made.items():
        told = chance.choice(names[name]) if known and name in names else value
        for one in told if isinstance(told, list) else [told]:
            yield name, one if isinstance(one, str) else json.dumps(one)


def _familiar(body: Mapping[str, Json], names: Names, chance: random.Random) -> Json:
    """The same body with names that mean something, and less of what hardly ever does."""
    found = {}
    for name, value in body.items():
        if name in names:
            found[name] = chance.choice(names[name]) if chance.random() < 0.7 else value
        elif chance.random() < (0.2 if name in IN_THE_WAY else 0.6):
            found[name] = value
    return found


def _headers(
    made: Mapping[str, Any], chance: random.Random, *, reads: bool
) -> Iterator[tuple[str, str]]:
    for name, value in made.items():
        told = str(value).encode("latin-1", "replace").decode("latin-1").strip()
        if name.isascii() and name.replace("-", "").isalnum() and told.isprintable():
            yield name, told
    if reads:
        return
    yield "Content-Type", chance.choices(["application/json", "text/plain"], [30, 1])[0]
    if chance.random() < 0.1:
        yield "Prefer", chance.choice(["wait=0", "wait=1", "wait=x", "respond-async"])
    if chance.random() < 0.1:
        yield "Idempotency-Key", f"k{chance.randrange(10)}"
    if chance.random() < 0.1:
        yield "If-Match", chance.choice(['"1"', '"2"', 'W/"3"', "*", "x", '"99999999999999999999"'])


def _content(body: Any) -> bytes:
    if body is NOT_SET:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()
