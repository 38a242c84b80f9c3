"""Signatures: what a version takes and gives back, and what a change means to its callers.

A change is compatible only if every request that worked still works and every answer keeps what it
had: outputs or signatures added, an input's dimension or rank widened. All else breaks callers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

UNKNOWN = -1  # a dimension of any size
DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of one named tensor."""

    dtype: str  # TensorFlow's name: DT_FLOAT, DT_STRING, …
    shape: tuple[int, ...] | None = None  # -1 is a dimension of any size; None an unknown rank

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any rank"
        sizes = ", ".join("?" if size == UNKNOWN else str(size) for size in self.shape)
        return f"{self.dtype} [{sizes}]" if self.shape else f"{self.dtype} scalar"


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a version."""

    method_name: str = ""
    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)


Signatures = Mapping[str, Signature]
Side = Literal["inputs", "outputs"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two versions; `before` or `after` is empty where there was nothing."""

    kind: str  # input-added, dtype-changed, dimension-widened, …
    where: str  # serving_default.inputs.x
    before: str = ""
    after: str = ""
    breaking: bool = True

    def __str__(self) -> str:
        mark = "!" if self.breaking else "+"
        words = " → ".join(part for part in (self.before, self.after) if part)
        return f"{mark} {self.where}: {self.kind.replace('-', ' ')}: {words}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it means to callers when one version takes the place of another."""

    verdict: Literal["identical", "compatible", "breaking"]
    changes: tuple[Change, ...] = ()  # breaking ones first
    text: str = ""


def diff(before: Signatures, after: Signatures) -> Verdict:
    """Judge a change of signatures by what a caller of `before` would notice."""
    changes = sorted(_changes(before, after), key=lambda change: not change.breaking)
    broken = sum(change.breaking for change in changes)
    if not changes:
        return Verdict("identical", text="identical signatures")
    if broken:
        title = f"breaking: {_count(broken, 'change')} of {len(changes)} would fail callers"
    else:
        title = f"compatible: {_count(len(changes), 'change')}, callers go on as before"
    text = "\n".join([title, *(str(change) for change in changes)])
    return Verdict("breaking" if broken else "compatible", tuple(changes), text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _changes(before: Signatures, after: Signatures) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield Change("signature-removed", name, before=_outline(before[name]))
        elif name not in before:
            yield Change("signature-added", name, after=_outline(after[name]), breaking=False)
        else:
            yield from _signature_changes(name, before[name], after[name])


def _outline(signature: Signature) -> str:
    return f"({', '.join(signature.inputs)}) -> ({', '.join(signature.outputs)})"


def _signature_changes(name: str, old: Signature, new: Signature) -> Iterator[Change]:
    if old.method_name != new.method_name:
        yield Change("method-changed", name, old.method_name or '""', new.method_name or '""')
    yield from _side_changes(f"{name}.inputs", "inputs", old.inputs, new.inputs)
    yield from _side_changes(f"{name}.outputs", "outputs", old.outputs, new.outputs)


def _side_changes(
    where: str, side: Side, old: Mapping[str, TensorSpec], new: Mapping[str, TensorSpec]
) -> Iterator[Change]:
    noun = side[:-1]
    gone = {name: spec for name, spec in old.items() if name not in new}
    come = {name: spec for name, spec in new.items() if name not in old}
    for was, now in _renames(gone, come).items():
        yield Change(f"{noun}-renamed", f"{where}.{was}", was, now)
        del gone[was], come[now]
    for name, spec in sorted(gone.items()):
        yield Change(f"{noun}-removed", f"{where}.{name}", before=str(spec))
    for name, spec in sorted(come.items()):
        yield Change(f"{noun}-added", f"{where}.{name}", after=str(spec), breaking=side == "inputs")
    for name in sorted(old.keys() & new.keys()):
        yield from _spec_changes(f"{where}.{name}", side, old[name], new[name])


def _renames(gone: Mapping[str, TensorSpec], come: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Pair what went with what came where type and shape leave one choice only."""
    pairs: dict[str, str] = {}
    for was, spec in gone.items():
        twins = [other for other in gone if gone[other] == spec]
        heirs = [now for now in come if come[now] == spec]
        if len(twins) == len(heirs) == 1:
            pairs[was] = heirs[0]
    return pairs


def _spec_changes(where: str, side: Side, old: TensorSpec, new: TensorSpec) -> Iterator[Change]:
    if old.dtype != new.dtype:
        yield Change("dtype-changed", where, old.dtype, new.dtype)
    if old.shape == new.shape:
        return
    kind = _shape_change(old.shape, new.shape)
    harmless = side == "inputs" and kind.endswith("-widened")
    yield Change(kind, where, str(old), str(new), breaking=not harmless)


def _shape_change(old: tuple[int, ...] | None, new: tuple[int, ...] | None) -> str:
    if new is None:
        return "rank-widened"
    if old is None or len(old) != len(new):
        return "rank-changed"
    moved = [(was, now) for was, now in zip(old, new, strict=True) if was != now]
    if all(now == UNKNOWN for _, now in moved):
        return "dimension-widened"
    if all(was == UNKNOWN for was, _ in moved):
        return "dimension-narrowed"
    return "dimension-changed"


def sample(signature: Signature, name: str = DEFAULT_SIGNATURE) -> dict[str, Any]:
    """Return a valid `:predict` body: unknown sizes 1, zeros, empty strings."""
    inputs = {one: _zeros(one, spec) for one, spec in signature.inputs.items()}
    return {"signature_name": name, "inputs": inputs}


def _zeros(name: str, spec: TensorSpec) -> Any:
    leaf = _zero(name, spec.dtype)
    sizes = [1 if size == UNKNOWN else size for size in spec.shape or ()]
    values: list[Any] = [leaf] * prod(sizes)
    for size in reversed(sizes):
        values = [values[at : at + size] for at in range(0, len(values), size or 1)]
    return values[0] if values else []


def _zero(name: str, dtype: str) -> Any:
    if dtype == "DT_STRING":
        return {"b64": ""} if name.endswith("_bytes") else ""
    if dtype == "DT_BOOL":
        return False
    return 0.0 if dtype in ("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16") else 0


def to_json(signatures: Signatures) -> dict[str, Any]:
    """Return the signatures as the API shows and the catalog keeps them."""
    return {
        name: {
            "method_name": one.method_name,
            "inputs": _each(one.inputs, _spec_to_json),
            "outputs": _each(one.outputs, _spec_to_json),
        }
        for name, one in signatures.items()
    }


def from_json(document: Mapping[str, Any]) -> Signatures:
    """Return the signatures that `to_json` wrote."""
    return {
        name: Signature(
            one["method_name"],
            _each(one["inputs"], _spec_from_json),
            _each(one["outputs"], _spec_from_json),
        )
        for name, one in document.items()
    }


def _each(specs: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: convert(spec) for name, spec in specs.items()}


def _spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}


def _spec_from_json(document: Mapping[str, Any]) -> TensorSpec:
    shape = document["shape"]
    return TensorSpec(document["dtype"], None if shape is None else tuple(shape))
