"""One leaf of a request's JSON to one value of a tensor, refused in the server's own words."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain.errors import PredictionRefused
from control_plane.serving.tensor import type_name

B64 = "b64"
_LONGEST_QUOTE = 1024
_BAD_BASE64 = "Unable to base64 decode"


def refused(text: str, code: str = "INVALID_ARGUMENT") -> PredictionRefused:
    """Return the refusal that the server itself would give."""
    return PredictionRefused(text, grpc_code=code)


def converter(dtype: str) -> Callable[[Any, str], Any]:
    """Return what turns a leaf into a value of the type; it raises PredictionRefused."""
    return _CONVERTERS.get(dtype, _unimplemented)


def is_base64(value: Any) -> bool:
    """Whether it is one string in base64, and no object of named things."""
    return isinstance(value, dict) and value.keys() == {B64} and isinstance(value[B64], str)


def _to_string(value: Any, dtype: str) -> bytes:
    if isinstance(value, dict):
        if not is_base64(value):
            shown = quoted(value)
            raise refused(f"JSON Value: {shown} not formatted correctly for base64 data")
        return _decoded(value[B64])
    if not isinstance(value, str):
        raise _type_error(value, dtype)
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise refused("JSON Parse error: The surrogate pair in string is invalid.") from None


def _decoded(text: str) -> bytes:
    squeezed = "".join(text.split()).rstrip("=")
    try:
        return base64.b64decode(squeezed + "=" * (-len(squeezed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise refused(_BAD_BASE64) from None


def _to_bool(value: Any, dtype: str) -> bool:
    if not isinstance(value, bool):
        raise _type_error(value, dtype)
    return value


def _integer(low: int, high: int) -> Callable[[Any, str], int]:
    def convert(value: Any, dtype: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _type_error(value, dtype)
        return value

    return convert


def _decimal(digits: int, largest: float) -> Callable[[Any, str], float]:
    """Accept what the server takes: whole numbers up to 2^digits - 1, else the type's range."""
    whole = 2**digits - 1

    def convert(value: Any, dtype: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _type_error(value, dtype)
        limit = whole if _is_machine_integer(value) else largest
        finite = isinstance(value, int) or math.isfinite(value)
        if finite and abs(value) > limit:
            raise refused(
                f"Cannot convert JSON value: {quoted(value)} to {type_name(dtype)}"
                " without loss of precision."
            )
        return float(value)

    return convert


def _is_machine_integer(value: float) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**64


def _unimplemented(value: Any, dtype: str) -> Any:
    text = f"Conversion of JSON Value: {quoted(value)} to type: {type_name(dtype)}"
    raise refused(text, "UNIMPLEMENTED")


_INT32 = _integer(-(2**31), 2**31 - 1)
_CONVERTERS: Mapping[str, Callable[[Any, str], Any]] = {
    "DT_FLOAT": _decimal(24, 3.4028234663852886e38),
    "DT_DOUBLE": _decimal(53, 1.7976931348623157e308),
    "DT_INT8": _INT32,
    "DT_INT16": _INT32,
    "DT_INT32": _INT32,
    "DT_UINT8": _INT32,
    "DT_INT64": _integer(-(2**63), 2**63 - 1),
    "DT_UINT32": _integer(0, 2**32 - 1),
    "DT_UINT64": _integer(0, 2**64 - 1),
    "DT_BOOL": _to_bool,
    "DT_STRING": _to_string,
}


def _type_error(value: Any, dtype: str) -> PredictionRefused:
    return refused(
        f"JSON Value: {quoted(value)} Type: {_json_type(value)}"
        f" is not of expected type: {type_name(dtype)}"
    )


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case dict():
            return "Object"
        case list():
            return "Array"
        case str():
            return "String"
        case _:
            return "Number"


def quoted(value: Any) -> str:
    """Return the value as an error text shows it."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
