"""TensorFlow Serving's REST JSON to and from its messages, with its own error texts.

Rows (`instances` → `predictions`) and columns (`inputs` → `outputs`) as its
`util/json_tensor.cc` has them, NaN and Infinity as bare words included. One difference: an
output string that is not UTF-8 comes as `{"b64": …}`, where the server's JSON would be invalid.
"""

import base64
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from control_plane.domain.errors import PredictionRefused
from control_plane.domain.signature import DEFAULT_SIGNATURE, Signature, Signatures, TensorSpec
from control_plane.serving import stubs
from control_plane.serving.leaf import B64, converter, is_base64, quoted, refused
from control_plane.serving.tensor import (
    dtype_of,
    make_tensor,
    sample_tensor,
    shape_of,
    values_of,
)

Layout = Literal["row", "columnar"]
_BYTES_SUFFIX = "_bytes"
_PLAIN_INSTANCES = (
    "instances is a plain list, but expecting list of objects as multiple "
    "input tensors required as per tensorinfo_map"
)
_PLAIN_INPUTS = (
    "inputs is a plain value/list, but expecting an object as multiple "
    "input tensors required as per tensorinfo_map"
)


def loads(raw: bytes, *, as_the_server: bool = False) -> dict[str, Any]:
    """Parse a request's body; `as_the_server` lets keys be given twice, as it does.

    Raises:
        PredictionRefused: it is not JSON, or not an object, or has a key twice.
    """
    try:
        document = json.loads(raw, object_pairs_hook=None if as_the_server else _each_once)
    except json.JSONDecodeError as error:
        raise refused(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (ValueError, RecursionError) as error:  # bytes that are no text, numbers without end
        raise refused(f"JSON Parse error: {error}") from None
    if b"\\ud" in raw.lower() and not _encodable(document):
        raise refused("JSON Parse error: a lone surrogate is no character")
    if not isinstance(document, dict):
        raise refused(f"JSON Value: {quoted(document)} Is not object")
    return document


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:80]} is given twice in one object")
    return found


def _encodable(document: object) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def dumps(document: Mapping[str, Any]) -> bytes:
    """Write an answer; NaN, Infinity and -Infinity are bare words, as the server writes them."""
    return json.dumps(document, ensure_ascii=False).encode()


def predict_request(body: Mapping[str, Any], signatures: Signatures) -> tuple[Any, Layout]:
    """Return the body as a `PredictRequest` without a model, and the layout of the answer.

    Raises:
        PredictionRefused: the body does not fit the signature that it names.
    """
    name, signature = _signature(body, signatures)
    request = stubs.PredictRequest()
    request.model_spec.signature_name = name
    tensors, layout = _tensors(body, signature.inputs)
    for one, tensor in tensors.items():
        request.inputs[one].CopyFrom(tensor)
    return request, layout


def sample_request(name: str, signature: Signature) -> Any:
    """Return a `PredictRequest` without a model that the signature accepts."""
    request = stubs.PredictRequest()
    request.model_spec.signature_name = name
    for one, spec in signature.inputs.items():
        request.inputs[one].CopyFrom(sample_tensor(spec))
    return request


def answer(outputs: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return a response's tensors as the server's REST front answers them; one stands alone.

    Raises:
        PredictionRefused: rows were asked for, and the outputs have no batch in common.
    """
    if not outputs:
        raise refused("Cannot convert empty tensor map to JSON")
    named = {name: outputs[name] for name in sorted(outputs)}
    return {"predictions": _rows(named)} if layout == "row" else {"outputs": _columns(named)}


def _signature(body: Mapping[str, Any], signatures: Signatures) -> tuple[str, Signature]:
    name = body.get("signature_name", "")
    if not isinstance(name, str):
        raise refused(
            f"JSON Value: {quoted(body)} not formatted correctly."
            " 'signature_name' key must be a string value."
        )
    signature = signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        missing = name or DEFAULT_SIGNATURE
        raise refused(f'Serving signature name: "{missing}" not found in signature def')
    if not signature.inputs:
        raise refused(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    return name, signature


def _tensors(
    body: Mapping[str, Any], specs: Mapping[str, TensorSpec]
) -> tuple[dict[str, Any], Layout]:
    if "instances" in body and "inputs" in body:
        raise refused(
            f"JSON Value: {quoted(body)} Not formatted correctly expecting only"
            " one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in body:
        return _from_rows(body, specs), "row"
    if "inputs" in body:
        return _from_columns(body["inputs"], specs), "columnar"
    raise refused("Missing 'inputs' or 'instances' key")


def _from_columns(value: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    if not _is_object(value):
        if len(specs) > 1:
            raise refused(_PLAIN_INPUTS)
        ((name, spec),) = specs.items()
        return {name: to_tensor(value, spec.dtype)}
    for name in specs:
        if name not in value:
            raise refused(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_tensor(value[name], spec.dtype) for name, spec in specs.items()}


def _from_rows(body: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    rows = body["instances"]
    if not isinstance(rows, list):
        raise refused(f"JSON Value: {quoted(body)} Excepting 'instances' to be an list/array")
    if not rows:
        raise refused(f"JSON Value: {quoted(body)} No values in 'instances' array")
    if _is_object(rows[0]):
        return _from_named_rows(rows, specs)
    if len(specs) > 1:
        raise refused(_PLAIN_INSTANCES)
    for at, row in enumerate(rows):
        if _is_object(row):
            raise refused(f"Expecting value/list but got object at item {at} of input list")
    ((name, spec),) = specs.items()
    return {name: _batch(rows, spec.dtype, "")}


def _from_named_rows(rows: list[Any], specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    for at, row in enumerate(rows):
        if not _is_object(row):
            raise refused(f"Expecting object but got list at item {at} of input list")
        for name in row:
            if name not in specs:
                reason = f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
                raise _row_refused(at, name, reason)
        if row.keys() != specs.keys():
            raise refused(
                f"Failed to process element: {at} of 'instances' list. JSON object: "
                f"{quoted(row)} keys must be equal to: {','.join(sorted(specs))}"
            )
    return {
        name: _batch([row[name] for row in rows], spec.dtype, name) for name, spec in specs.items()
    }


def _batch(rows: list[Any], dtype: str, name: str) -> Any:
    """Join rows of one shape into a tensor whose first dimension counts them."""
    shape, values = _shape(rows[0]), []
    for at, row in enumerate(rows):
        try:
            leaves = _leaves(row, dtype, _shape(row))
            _check_alike(shape, _shape(row))
        except PredictionRefused as error:
            reason = f"{error.details['grpc_code']}: {error.message}"
            raise _row_refused(at, name, reason) from None
        values += leaves
    return make_tensor(dtype, (len(rows), *shape), values)


def _check_alike(first: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if math.prod(first) != math.prod(shape):
        sizes = math.prod(first), math.prod(shape)
        raise refused(f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}")
    if first != shape:
        raise refused(f"Expecting shape {_brackets(first)} but got: {_brackets(shape)}")


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"


def _row_refused(at: int, name: str, reason: str) -> PredictionRefused:
    key = f" key: {name}" if name else ""
    return refused(f"Failed to process element: {at}{key} of 'instances' list. Error: {reason}")


def to_tensor(value: Any, dtype: str) -> Any:
    """Return a JSON value, a scalar or lists of any depth, as a tensor of the type.

    Raises:
        PredictionRefused: a leaf of another type, or lists of uneven sizes.
    """
    shape = _shape(value)
    return make_tensor(dtype, shape, _leaves(value, dtype, shape))


def _shape(value: Any) -> tuple[int, ...]:
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(sizes)


def _leaves(value: Any, dtype: str, shape: tuple[int, ...]) -> list[Any]:
    convert = converter(dtype)
    return [convert(leaf, dtype) for leaf in _flat(value, shape, 0)]


def _flat(value: Any, shape: tuple[int, ...], level: int) -> Iterator[Any]:
    if not isinstance(value, list):
        if level != len(shape):
            raise refused(
                f"JSON Value: {quoted(value)} found at incorrect level: {level + 1}"
                f" in the JSON DOM. Expected at level: {len(shape)}"
            )
        yield value
        return
    if level >= len(shape):
        raise refused(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise refused(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        yield from _flat(item, shape, level + 1)


def _is_object(value: Any) -> bool:
    """Whether it is an object of named things, and not one string in base64."""
    return isinstance(value, dict) and not is_base64(value)


def _columns(tensors: Mapping[str, Any]) -> Any:
    columns = {name: from_tensor(name, tensor) for name, tensor in tensors.items()}
    return columns if len(columns) > 1 else next(iter(columns.values()))


def _rows(tensors: Mapping[str, Any]) -> list[Any]:
    batch = -1
    for name, tensor in tensors.items():
        if not shape_of(tensor):
            raise refused(f"Tensor name: {name} has no shape information ")
        size = shape_of(tensor)[0]
        if batch not in (-1, size):
            raise refused(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {batch}"
            )
        batch = size
    columns = _columns(tensors)
    if len(tensors) == 1:
        return list(columns)
    return [{name: column[at] for name, column in columns.items()} for at in range(batch)]


def from_tensor(name: str, tensor: Any) -> Any:
    """Return a tensor's values as nested lists; strings as text, or base64 if the name says so."""
    values: Iterator[Any] = iter(values_of(tensor))
    if dtype_of(tensor) == "DT_STRING":
        values = (_from_string(name, value) for value in values)
    return _nested(values, shape_of(tensor))


def _nested(values: Iterator[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return next(values)
    if len(shape) == 1:
        return list(itertools.islice(values, shape[0]))
    return [_nested(values, shape[1:]) for _ in range(shape[0])]


def _from_string(name: str, value: bytes) -> Any:
    if not name.endswith(_BYTES_SUFFIX):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {B64: base64.b64encode(value).decode()}
