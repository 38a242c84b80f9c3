"""Values of a `TensorProto`, without numpy: flat Python lists in, flat Python lists out.

A tensor carries its values either packed in `tensor_content` (little-endian, C order) or in one
typed field, where the last of too few values fills the rest, and none at all means zeros.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from control_plane.domain.errors import PredictionFailed
from control_plane.domain.signature import UNKNOWN, TensorSpec
from control_plane.serving import stubs


@dataclass(frozen=True, slots=True)
class _Layout:
    field: str  # the typed field
    code: str = ""  # of the array module, for packed values; "" if never packed


_LAYOUTS: Mapping[str, _Layout] = {
    "DT_FLOAT": _Layout("float_val", "f"),
    "DT_DOUBLE": _Layout("double_val", "d"),
    "DT_INT8": _Layout("int_val", "b"),
    "DT_INT16": _Layout("int_val", "h"),
    "DT_INT32": _Layout("int_val", "i"),
    "DT_INT64": _Layout("int64_val", "q"),
    "DT_UINT8": _Layout("int_val", "B"),
    "DT_UINT16": _Layout("int_val", "H"),
    "DT_UINT32": _Layout("uint32_val", "I"),
    "DT_UINT64": _Layout("uint64_val", "Q"),
    "DT_BOOL": _Layout("bool_val", "B"),
    "DT_HALF": _Layout("half_val", "H"),
    "DT_BFLOAT16": _Layout("half_val", "H"),
    "DT_STRING": _Layout("string_val"),
}
_ZEROS: Mapping[str, Any] = {"DT_STRING": b"", "DT_FLOAT": 0.0, "DT_DOUBLE": 0.0}


def dtype_of(tensor: Any) -> str:
    """Return TensorFlow's name of the tensor's type, as DT_FLOAT."""
    return str(stubs.DataType.Name(tensor.dtype))


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return the sizes of the tensor's dimensions; a value's own are always known."""
    return tuple(dim.size for dim in tensor.tensor_shape.dim)


def make_tensor(dtype: str, shape: Iterable[int], values: Sequence[Any]) -> Any:
    """Return a tensor with its values in the typed field, as the server's own REST front does."""
    tensor = empty_tensor(dtype, shape)
    if values:
        getattr(tensor, _LAYOUTS[dtype].field).extend(values)
    return tensor


def empty_tensor(dtype: str, shape: Iterable[int]) -> Any:
    """Return a tensor without values: the server reads zeros or empty strings."""
    tensor = stubs.TensorProto(dtype=stubs.DataType.Value(dtype))
    tensor.tensor_shape.SetInParent()
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def sample_tensor(spec: TensorSpec) -> Any:
    """Return a tensor that the spec accepts: unknown sizes 1, zeros or empty strings."""
    return empty_tensor(spec.dtype, [1 if size == UNKNOWN else size for size in spec.shape or ()])


def values_of(tensor: Any) -> list[Any]:
    """Return all values in C order: numbers, bools, or bytes for strings.

    Raises:
        PredictionFailed: a type that is no plain number or string, or values that do not fit.
    """
    dtype, size = dtype_of(tensor), prod(shape_of(tensor))
    layout = _LAYOUTS.get(dtype)
    if layout is None:
        raise PredictionFailed(f"Failed to write JSON value for tensor type: {type_name(dtype)}")
    if tensor.tensor_content:
        values = _unpacked(tensor.tensor_content, layout)
    else:
        values = list(getattr(tensor, layout.field))
        values += [values[-1] if values else _ZEROS.get(dtype, 0)] * (size - len(values))
    if len(values) != size:
        raise PredictionFailed(f"a tensor of {size} elements came with {len(values)} values")
    return _readable(values, dtype)


def type_name(dtype: str) -> str:
    """Return the type's name in the server's error texts: DT_FLOAT is float."""
    return dtype.removeprefix("DT_").lower()


def _unpacked(content: bytes, layout: _Layout) -> list[Any]:
    packed = array(layout.code or "B")
    if len(content) % packed.itemsize or not layout.code:
        raise PredictionFailed("a tensor's packed values are cut short")
    packed.frombytes(content)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tolist()


def _readable(values: list[Any], dtype: str) -> list[Any]:
    match dtype:
        case "DT_BOOL":
            return [bool(value) for value in values]
        case "DT_HALF":
            return [struct.unpack("<e", struct.pack("<H", value))[0] for value in values]
        case "DT_BFLOAT16":
            return [struct.unpack("<f", struct.pack("<I", value << 16))[0] for value in values]
        case "DT_FLOAT":
            return [shortest_float(value) for value in values]
        case _:
            return values


def shortest_float(value: float) -> float:
    """Return the double that prints as the 32-bit value is meant: 0.2, not 0.20000000298.

    The server does the same: six digits if they give the value back, else nine.
    """
    if value != value or value in (float("inf"), float("-inf")) or value == 0:
        return value
    short = float(f"{value:.6g}")
    if _as_float32(short) == value:
        return short
    return float(f"{value:.9g}")


def _as_float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:  # rounded up beyond the largest 32-bit float
        return float("inf")
