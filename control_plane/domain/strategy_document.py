"""Reads a strategy's document; what does not fit, or could not be carried out, is named by path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from control_plane.domain.catalog import check_label, check_name
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.gate import check_gate
from control_plane.domain.share import ALL, Share, growing, parse_share
from control_plane.domain.strategy import (
    Approve,
    Bake,
    Canary,
    Drain,
    GateSpec,
    Load,
    Promote,
    Retire,
    StepSpec,
    Strategy,
)

MOST_STEPS: Final = 50
MOST_SECONDS: Final = 30 * 24 * 3600.0


def parse(document: Any) -> Strategy:
    """Return the strategy that a document describes.

    Raises:
        FieldInvalid: names the path, as `steps[2].servers`.
    """
    if not isinstance(document, Mapping):
        raise FieldInvalid("strategy", "must be an object")
    if unknown := sorted(set(document) - {"steps", "description"}):
        raise FieldInvalid(unknown[0], "is not known", hint="known: description, steps")
    description = document.get("description", "")
    if not isinstance(description, str) or len(description) > 1_000:
        raise FieldInvalid("description", "must be a text of at most 1000 characters")
    listed = document.get("steps")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_STEPS:
        raise FieldInvalid("steps", f"must be a list of 1 to {MOST_STEPS} steps")
    steps = tuple(_step(f"steps[{at}]", one) for at, one in enumerate(listed))
    _check_order(steps)
    return Strategy(steps, description)


@dataclass(frozen=True, slots=True)
class _Fields:
    """A step's object, and where it is."""

    path: str
    document: Mapping[str, Any]

    def wrong(self, name: str, message: str, hint: str = "") -> FieldInvalid:
        return FieldInvalid(f"{self.path}.{name}", message, hint=hint)

    def only(self, *known: str) -> None:
        for name in self.document:
            if name not in known:
                hint = f"known: {', '.join(known)}" if known else "it takes no fields"
                raise self.wrong(name, "is not known", hint)

    def text(self, name: str, default: str) -> str:
        value = self.document.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "must be a text")
        return value

    def seconds(self) -> float:
        value: Any = self.document.get("seconds")
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if plain and 0 < value <= MOST_SECONDS:
            return float(value)
        raise self.wrong("seconds", f"must be a number above 0 and up to {MOST_SECONDS:g}")


def _step(path: str, value: Any) -> StepSpec:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        text = 'must be the name of a step, or an object like {"bake": {"seconds": 60}}'
        raise FieldInvalid(path, text)
    ((kind, document),) = value.items()
    if kind not in _KINDS:
        raise FieldInvalid(path, f"{kind!r} is no step"[:200], hint=f"one of {', '.join(_KINDS)}")
    if not isinstance(document, Mapping):
        raise FieldInvalid(f"{path}.{kind}", "must be an object")
    return _KINDS[kind](_Fields(path, document))


def _load(fields: _Fields) -> StepSpec:
    fields.only()
    return Load()


def _canary(fields: _Fields) -> StepSpec:
    fields.only("label", "servers")
    label = check_label(f"{fields.path}.label", fields.text("label", "canary"))
    return Canary(
        label, parse_share(f"{fields.path}.servers", fields.document.get("servers", "all"))
    )


def _bake(fields: _Fields) -> StepSpec:
    fields.only("seconds")
    return Bake(fields.seconds())


def _gate(fields: _Fields) -> StepSpec:
    document = {key: one for key, one in fields.document.items() if key != "name"}
    check_gate(fields.path, document)
    kind = document.pop("kind")
    return GateSpec(kind, check_name(f"{fields.path}.name", fields.text("name", kind)), document)


def _approve(fields: _Fields) -> StepSpec:
    fields.only("count", "exclude_author")
    count = fields.document.get("count", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 100:
        raise fields.wrong("count", "must be a whole number from 1 to 100")
    exclude = fields.document.get("exclude_author", True)
    if not isinstance(exclude, bool):
        raise fields.wrong("exclude_author", "must be true or false")
    return Approve(count, exclude)


def _promote(fields: _Fields) -> StepSpec:
    fields.only("waves")
    listed = fields.document.get("waves", ["all"])
    if not isinstance(listed, list) or not 1 <= len(listed) <= 100:
        raise fields.wrong("waves", "must be a list of 1 to 100 shares")
    path = f"{fields.path}.waves"
    return Promote(tuple(parse_share(f"{path}[{at}]", one) for at, one in enumerate(listed)))


def _drain(fields: _Fields) -> StepSpec:
    fields.only("seconds")
    return Drain(fields.seconds())


def _retire(fields: _Fields) -> StepSpec:
    fields.only()
    return Retire()


_KINDS: Final[Mapping[str, Callable[[_Fields], StepSpec]]] = {
    "load": _load,
    "canary": _canary,
    "bake": _bake,
    "gate": _gate,
    "approve": _approve,
    "promote": _promote,
    "drain": _drain,
    "retire": _retire,
}


def _check_order(steps: tuple[StepSpec, ...]) -> None:
    """Refuse what no rollout could do in this order."""
    loaded = moved = over = False
    for at, one in enumerate(steps):
        path = f"steps[{at}]"
        if over:
            raise FieldInvalid(path, "nothing can come after retire")
        if isinstance(one, Canary | Promote | Drain | Retire) and not loaded:
            raise FieldInvalid(path, "load must come before it")
        if isinstance(one, Load) and loaded:
            raise FieldInvalid(path, "load comes once")
        _check_beside_promotion(path, one, moved=moved)
        loaded |= isinstance(one, Load)
        moved |= isinstance(one, Promote)
        over = isinstance(one, Retire)
    _check_waves(steps)


def _check_beside_promotion(path: str, step: StepSpec, *, moved: bool) -> None:
    if isinstance(step, Canary) and moved:
        raise FieldInvalid(path, "a canary comes before promote")
    if isinstance(step, Drain | Retire) and not moved:
        raise FieldInvalid(path, "promote must come before it")


def _check_waves(steps: tuple[StepSpec, ...]) -> None:
    """The waves of all promote steps are one row; a bake between two of them is welcome."""
    last: Share | None = None
    path = ""
    for at, one in enumerate(steps):
        if isinstance(one, Drain) and last != ALL:
            raise FieldInvalid(path, "the last wave must be all servers")
        for index, share in enumerate(one.waves if isinstance(one, Promote) else ()):
            path = f"steps[{at}].waves[{index}]"
            if last is not None and not growing(last, share):
                text = f"must be more than {last.to_json()!r}, which comes before it"
                raise FieldInvalid(path, text, hint="numbers before percentages, each growing")
            last = share
    if last is None:
        raise FieldInvalid("steps", "there is no promote: no label would ever move")
    if not last.whole:
        raise FieldInvalid(path, "the last wave must be all servers")
